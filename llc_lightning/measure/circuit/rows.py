"""How edges are scored and circuits searched for, and how both become rows of the table."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.circuit import Circuit, NoAnswerError
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.discovery.learned import Learned
from llc_lightning.circuits.evaluation.faithfulness import faithfulness
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.circuits.scores.exact import Exact
from llc_lightning.circuits.stability import Stability, over_examples
from llc_lightning.components.component import Component
from llc_lightning.measure.circuit.plan import KIND, CircuitPlan, Search, edge_of
from llc_lightning.measure.cost import Clock, Forecast
from llc_lightning.measure.forecast import by_examples
from llc_lightning.measure.measurements import MEASUREMENTS, Measurement
from llc_lightning.measure.sharing import Piece
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.runtime.batches import chunks, n_examples
from llc_lightning.runtime.errors import MeasurementError
from llc_lightning.runtime.progress import Advance, silent
from llc_lightning.runtime.status import is_failed, join
from llc_lightning.runtime.workers import one_sentence

R = TypeVar("R")
_BRIEF = 8
"""Examples, at most, that scores of all edges together are tried on."""
_TIMED = 16
"""Masks, at most, that are timed."""


@dataclass(frozen=True)
class Nothing:
    """A search that found nothing to say at a snapshot."""

    quantity: str
    status: str
    told: str


@dataclass
class Tried:
    """What was tried at the latest snapshot and is the same whichever components are asked for: not tried again."""

    found: dict[str, Any] = field(default_factory=dict[str, Any])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    at: Callable[[], Snapshot | None] = lambda: None

    def once(self, snapshot: Snapshot, name: str, do: Callable[[], R], *, keeps: bool) -> R:
        """Returns what ``do`` returns, or has returned there before.

        Args:
            snapshot: Where.
            name: Names what is tried.
            do: Tries it.
            keeps: Whether what it returns is the same whichever components are asked for, as its failure is.

        Raises:
            MeasurementError: If it has failed there before.
            Exception: What it raises.
        """
        if self.at() is not snapshot:
            self.found, self.failed, self.at = {}, {}, weakref.ref(snapshot)
        if name in self.failed:
            raise MeasurementError(self.failed[name])
        if name in self.found:
            return self.found[name]
        try:
            found = do()
        except Exception as error:  # of whatever the module and torch raise
            self.failed[name] = one_sentence(error)
            raise
        if keeps:
            self.found[name] = found
        return found


Measured = Effect | Circuit | Stability | Nothing


class CircuitMeasurement(Measurement[CircuitPlan]):
    """Scores of edges and searches, which processes share."""

    def measure(
        self,
        plan: CircuitPlan,
        snapshot: Snapshot,
        components: list[Component],
        *,
        replicate: int,
        advance: Advance,
        memory: Tried | None,
    ) -> list[Measured]:
        """Returns what searches find, and the scores of some edges.

        Raises:
            LLCLightningError: If they have none.
        """
        asked, tried = plan.question(snapshot), memory or Tried()
        found: dict[str, Measured] = {}
        for one in components:
            if isinstance(one, Search):
                found[one.address] = tried.once(
                    snapshot, one.address, lambda one=one: _searched(plan, asked, one), keeps=True
                )
        edges = [one for one in components if one.address not in found]

        def scored() -> list[Effect]:
            return edge_scores(asked, plan.scored_by, [edge_of(one) for one in edges])

        if edges:
            exact = isinstance(plan.scored_by, Exact)
            scores = scored() if exact else tried.once(snapshot, "scores", scored, keeps=False)
            found.update(zip((one.address for one in edges), scores, strict=True))
        advance(plan.cost(plan.jobs(components, data="")))
        return [found[one.address] for one in components]

    def pieces(self, plan: CircuitPlan, snapshot: Snapshot, components: Sequence[Component]) -> list[Piece]:
        """Returns every search for itself, and every edge where effects are exact; gradients tell of all at once."""
        searches = [one for one in components if isinstance(one, Search)]
        edges = [one for one in components if not isinstance(one, Search)]
        if isinstance(plan.scored_by, Exact):
            return [Piece((one,)) for one in (*searches, *edges)]
        return [*(Piece((one,)) for one in searches), *([Piece(tuple(edges))] if edges else [])]

    def rows(
        self,
        plan: CircuitPlan,
        snapshot: Snapshot,
        measured: Sequence[Measured],
        once: None,
        *,
        data: str,
        replicate: int,
    ) -> Iterator[Row]:
        """Yields the score of every edge, and what the searches found."""
        place = snapshot.columns(settings=plan.settings_with(data), revision=plan.revision, loss=plan.loss)
        again: dict[str, Any] = place | {"settings": plan.settings_with(data, resamples=plan.resamples)}
        n = n_examples(snapshot.data) if plan.examples is None else plan.examples
        for one in measured:
            match one:
                case Effect():
                    yield Row(
                        **place, quantity=plan.quantity, component=one.component, kind=KIND, method=plan.method,
                        value=one.value, stderr=one.stderr, status=one.status, draws=one.draws, n_examples=one.n or n,
                        details=encode_details({"draws": one.draws, "vmapped": one.vmapped, **one.details}),
                    )  # fmt: skip
                case Circuit():
                    yield from _of_circuit(plan, one, place)
                case Stability():
                    yield from _of_shares(plan, one, again)
                case Nothing():
                    yield Row(
                        **(place if one.quantity == "circuit_edges" else again), quantity=one.quantity,
                        method=plan.found_by, value=math.nan, status=one.status, n_examples=n,
                        details=encode_details({"error": one.told}),
                    )  # fmt: skip

    def forecast(
        self, plan: CircuitPlan, snapshot: Snapshot, components: Sequence[Component], clock: Clock
    ) -> Forecast:
        """Returns what scores cost, from those on fewer examples, as much for each; and searches, from masked runs."""
        n = n_examples(plan.question(snapshot).data)
        edges = [one for one in components if not isinstance(one, Search)]
        searches = [one for one in components if isinstance(one, Search)]

        def scored(some: int) -> None:
            few = replace(plan, examples=max(2, some))  # donors are others
            self.measure(few, snapshot, edges, replicate=0, advance=silent, memory=None)

        seconds: dict[str, float] = {}
        if edges:
            seconds = dict.fromkeys((one.address for one in edges), by_examples(scored, n, clock) / len(edges))
        if searches:
            each = _seconds(plan, snapshot, clock)
            seconds |= {one.address: each * plan.cost(plan.jobs([one], data="")) for one in searches}
        return Forecast(0.0, seconds)

    def small(self, plan: CircuitPlan) -> CircuitPlan:
        """Returns the plan with searches of one step, or that remove no edges, and few examples for gradients."""
        search = plan.searched_by
        examples = plan.examples
        if not isinstance(plan.scored_by, Exact):
            examples = min(examples or _BRIEF, _BRIEF)
        if search is None:
            return replace(plan, examples=examples)
        score = getattr(search, "score", "exact")
        brief = f"top(score={'random' if score == 'exact' else score},edges=1)"
        if isinstance(search, Learned):
            brief = replace(search, steps=1).name
        return replace(plan, examples=examples, search=brief, resamples=min(plan.resamples, 2))

    def memory(self) -> Tried:
        """Returns where it keeps what it has tried."""
        return Tried()


MEASUREMENTS.register(
    "circuit",
    summary="what each part says to each other part, and which of these connections a search keeps",
    plan=CircuitPlan,
    quantities=(
        *("edge_effect", "edge_score", "circuit_edge", "edge_share", "circuit_edges", "circuit_resamples"),
        "circuit_faithfulness",
    ),
)(CircuitMeasurement())


def _searched(plan: CircuitPlan, asked: Question, what: Search) -> Circuit | Stability | Nothing:
    """Returns what a search finds."""
    search = plan.searched_by
    if search is None:
        raise RuntimeError(f"{what.address} is no part of a plan without a search")
    try:
        if what.quantity == "circuit_resamples":
            return over_examples(asked, search, count=plan.resamples)
        runs = MaskedRuns(Subject(asked))
        circuit = find_circuit(runs, search)
    except NoAnswerError as error:
        return Nothing(what.quantity, error.status, str(error))
    if not circuit.scored or circuit.faithfulness or circuit.constants:
        return circuit
    try:
        return replace(circuit, faithfulness=faithfulness(runs, circuit.edges).as_row())
    except NoAnswerError:
        return circuit


def _seconds(plan: CircuitPlan, snapshot: Snapshot, clock: Clock) -> float:
    """Returns the seconds of one masked run on all examples, of some that lack an edge each, from all over the net.

    As many run together as in the search. What the first runs make has other shares of the same edges, since what is
    read of donors is kept.
    """
    runs, search = MaskedRuns(Subject(plan.question(snapshot))), plan.searched_by
    lacking = torch.linspace(0, len(runs.edges) - 1, min(_TIMED, len(runs.edges))).round().long()
    masks = torch.ones(len(lacking), len(runs.edges))
    masks[torch.arange(len(lacking)), lacking] = 0.0
    together: int = getattr(search, "lanes", getattr(search, "samples", _TIMED))
    passes = [masks[some] for some in chunks(len(masks), together)]
    with torch.no_grad():
        for some in passes:
            runs((1 + some) / 2)
        started = clock()
        for some in passes:
            runs(some)
    return (clock() - started) / len(masks)


def _status(found: Circuit) -> str:
    """Returns what is to be said against a circuit: what fails any of its edges, and what doubts all of them."""
    each = [frozenset(one.status.split("+")) for one in found.scored]
    failed = {reason for some in each for reason in some if is_failed(reason)}
    doubts = set(str(found.faithfulness["status"]).split("+")) if found.faithfulness else set[str]()
    # The circuit of a network that does no more than its ablation has no faithfulness.
    lacking = {"no-gap"} if each and not found.faithfulness else set[str]()
    shared = frozenset[str].intersection(*each) if each else frozenset[str]()
    return join(failed | shared | doubts | lacking)


def _of_circuit(plan: CircuitPlan, found: Circuit, place: dict[str, Any]) -> Iterator[Row]:
    """Yields the edges that the search keeps, their number, and how faithful they are together."""
    search = plan.searched_by
    shared: dict[str, Any] = place | {"method": plan.found_by, "n_examples": found.n_examples}
    unit = "" if search is None or search.scores_are_effects else "1"
    for one in found.scored:
        yield Row(
            **shared, quantity="circuit_edge", component=str(one.edge), kind=KIND, value=one.score, stderr=one.stderr,
            status=one.status, unit=unit,
        )  # fmt: skip
    status, details = _status(found), encode_details({"of": found.of, **found.search})
    size = math.nan if is_failed(status) else float(len(found.scored))
    yield Row(**shared, quantity="circuit_edges", value=size, stderr=0 * size, status=status, details=details)
    if found.faithfulness:
        told = dict(found.faithfulness)
        value, stderr, status = float(told.pop("value")), float(told.pop("stderr")), str(told.pop("status"))
        shared["n_examples"] = int(told["n"])
        yield Row(
            **shared, quantity="circuit_faithfulness", value=value, stderr=stderr, status=status,
            details=encode_details(told),
        )  # fmt: skip


def _of_shares(plan: CircuitPlan, found: Stability, place: dict[str, Any]) -> Iterator[Row]:
    """Yields how many circuits were found, and the share of them that hold each edge of any of them."""
    count, first = len(found.circuits), found.circuits[0]
    edges = [one.status for circuit in found.circuits for one in circuit.scored]
    status = join({reason for one in edges for reason in one.split("+") if is_failed(reason)})
    told: dict[str, Any] = place | {"method": plan.found_by, "n_examples": first.n_examples, "status": status}
    known = math.nan if is_failed(status) else 1.0
    yield Row(**told, quantity="circuit_resamples", value=known * count, stderr=known * 0)
    for edge, share in found.shares.items():
        near = (share * count + 2) / (count + 4)
        yield Row(
            **told, quantity="edge_share", component=str(edge), kind=KIND, value=known * share,
            stderr=known * math.sqrt(near * (1 - near) / (count + 4)), details=encode_details({"circuits": count}),
        )  # fmt: skip
