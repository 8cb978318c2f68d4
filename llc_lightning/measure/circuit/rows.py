"""How edges are scored and circuits searched for, and how both become rows of the table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.base import edge_scores
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.evaluation.faithfulness import faithfulness
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.circuits.scores.exact import Exact
from llc_lightning.circuits.stability import Stability, over_examples
from llc_lightning.components.component import Component
from llc_lightning.measure.circuit.plan import KIND, CircuitPlan, edge_of
from llc_lightning.measure.cost import Clock, Forecast
from llc_lightning.measure.forecast import by_examples
from llc_lightning.measure.measurements import MEASUREMENTS, Measurement
from llc_lightning.measure.sharing import Piece
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.runtime.batches import n_examples
from llc_lightning.runtime.progress import Advance, silent


@dataclass(frozen=True)
class Found:
    """What a search found at a snapshot."""

    circuit: Circuit
    over_resamples: Stability | None = None


class CircuitMeasurement(Measurement[CircuitPlan]):
    """Scores of edges, which processes share; a search is of all edges together, and the first process does it."""

    def measure(
        self,
        plan: CircuitPlan,
        snapshot: Snapshot,
        components: list[Component],
        *,
        replicate: int,
        advance: Advance,
        memory: Any,
    ) -> list[Effect]:
        """Returns the scores of some edges.

        Raises:
            LLCLightningError: If they have none.
        """
        found = edge_scores(plan.question(snapshot), plan.scored_by, [edge_of(one) for one in components])
        advance(len(components))
        return found

    def pieces(self, plan: CircuitPlan, snapshot: Snapshot, components: Sequence[Component]) -> list[Piece]:
        """Returns every edge for itself where effects are exact; gradients tell of all edges at once."""
        if isinstance(plan.scored_by, Exact):
            return [Piece((component,)) for component in components]
        return [Piece(tuple(components))]

    def once(self, plan: CircuitPlan, snapshot: Snapshot) -> Found | None:
        """Returns what the search finds; None where there is none."""
        search = plan.searched_by
        if search is None:
            return None
        asked = plan.question(snapshot)
        runs = MaskedRuns(Subject(asked))
        circuit = find_circuit(runs, search)
        if circuit.scored and not circuit.faithfulness:
            circuit = replace(circuit, faithfulness=faithfulness(runs, circuit.edges).as_row())
        resampled = over_examples(asked, search, count=plan.resamples) if plan.resamples else None
        return Found(circuit, resampled)

    def rows(
        self,
        plan: CircuitPlan,
        snapshot: Snapshot,
        measured: Sequence[Effect],
        once: Found | None,
        *,
        data: str,
        replicate: int,
    ) -> Iterator[Row]:
        """Yields the score of every edge, and what the search found."""
        place = snapshot.columns(settings=plan.settings_with(data), revision=plan.revision, loss=plan.loss)
        method = plan.method_of(plan.scored_by.name)
        n = n_examples(snapshot.data) if plan.examples is None else plan.examples
        for one in measured:
            yield Row(
                **place, quantity=plan.quantity, component=one.component, kind=KIND, method=method, value=one.value,
                stderr=one.stderr, status=one.status, draws=one.draws, n_examples=one.n or n,
            )  # fmt: skip
        if once is not None:
            yield from _of_circuit(plan, once.circuit, place)
            if once.over_resamples is not None:
                settings = plan.settings_with(data, resamples=plan.resamples)
                yield from _of_shares(plan, once.over_resamples, place | {"settings": settings})

    def forecast(
        self, plan: CircuitPlan, snapshot: Snapshot, components: Sequence[Component], clock: Clock
    ) -> Forecast:
        """Returns what scores and search cost, from those on fewer examples; as much for each edge."""
        n = n_examples(plan.question(snapshot).data)

        def scored(some: int) -> None:
            few = replace(plan, examples=max(2, some))  # donors are others
            self.measure(few, snapshot, list(components), replicate=0, advance=silent, memory=None)

        def searched(some: int) -> None:
            self.once(replace(plan, examples=max(2, some), resamples=0), snapshot)

        each = by_examples(scored, n, clock) / len(components)
        once = (1 + plan.resamples) * by_examples(searched, n, clock) if plan.search else 0.0
        return Forecast(once, {component.address: each for component in components})

    def small(self, plan: CircuitPlan) -> CircuitPlan:
        """Returns the plan without its search."""
        return replace(plan, search="", resamples=0)


MEASUREMENTS.register(
    "circuit",
    summary="what each part says to each other part, and which of these connections a search keeps",
    plan=CircuitPlan,
    quantities=("edge_effect", "edge_score", "circuit_edge", "edge_share", "circuit_edges", "circuit_faithfulness"),
)(CircuitMeasurement())


def _of_circuit(plan: CircuitPlan, found: Circuit, place: dict[str, Any]) -> Iterator[Row]:
    """Yields the edges that the search keeps, their number, and how faithful they are together."""
    search = plan.searched_by
    shared: dict[str, Any] = place | {"method": plan.method_of(found.method), "n_examples": found.n_examples}
    unit = "" if search is None or search.scores_are_effects else "1"
    for one in found.scored:
        yield Row(
            **shared, quantity="circuit_edge", component=str(one.edge), kind=KIND, value=one.score, stderr=one.stderr,
            status=one.status, unit=unit,
        )  # fmt: skip
    details = encode_details({"of": found.of, **found.search})
    yield Row(**shared, quantity="circuit_edges", value=float(len(found.scored)), stderr=0.0, details=details)
    if found.faithfulness:
        told = dict(found.faithfulness)
        value, stderr, status = float(told.pop("value")), float(told.pop("stderr")), str(told.pop("status"))
        yield Row(
            **shared, quantity="circuit_faithfulness", value=value, stderr=stderr, status=status,
            details=encode_details(told),
        )  # fmt: skip


def _of_shares(plan: CircuitPlan, found: Stability, place: dict[str, Any]) -> Iterator[Row]:
    """Yields the share of circuits that hold each edge of any of them."""
    count = len(found.circuits)
    first = found.circuits[0]
    for edge, share in found.shares.items():
        near = (share * count + 2) / (count + 4)
        yield Row(
            **place, quantity="edge_share", component=str(edge), kind=KIND, method=plan.method_of(first.method),
            value=share, stderr=math.sqrt(near * (1 - near) / (count + 4)), n_examples=first.n_examples,
            details=encode_details({"circuits": count}),
        )  # fmt: skip
