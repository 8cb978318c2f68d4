"""How much a circuit depends on what it was found with: shares of edges over circuits, and what most of them hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, permutations

import torch

from llc_lightning.circuits.base import Question
from llc_lightning.circuits.circuit import Circuit, ScoredEdge
from llc_lightning.circuits.discovery.base import Discovery, find_circuit
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.graph import Graph
from llc_lightning.components.address import Address
from llc_lightning.runtime.batches import n_examples, take
from llc_lightning.runtime.errors import SettingError, at_least
from llc_lightning.runtime.seeding import generator

_MOST_UNITS = 6
"""Units of one part whose every order is tried."""


@dataclass(frozen=True)
class Stability:
    """Circuits that differ in one respect, and how often each edge is among them."""

    by: str
    """In what they differ: ``examples``, ``order``, ``donor``, ``method`` or ``seed``."""
    circuits: tuple[Circuit, ...]

    def __post_init__(self) -> None:
        """Checks that there is something to compare."""
        if len(self.circuits) < 2:
            raise SettingError(f"{len(self.circuits)} circuits are given; a share needs two or more.")

    @cached_property
    def shares(self) -> dict[Edge, float]:
        """The share of the circuits that hold an edge, of all edges of any of them, the largest first."""
        counts: dict[Edge, int] = {}
        for circuit in self.circuits:
            for edge in circuit.edges:
                counts[edge] = counts.get(edge, 0) + 1
        order = sorted(counts, key=lambda edge: (-counts[edge], str(edge)))
        return {edge: counts[edge] / len(self.circuits) for edge in order}

    @property
    def in_all(self) -> list[Edge]:
        """The edges that every circuit holds."""
        return [edge for edge, share in self.shares.items() if share == 1]

    @property
    def jaccard(self) -> float:
        """Mean over pairs of circuits of the share of their edges that both hold; 1 where all are the same."""
        pairs = [(set(one.edges), set(other.edges)) for one, other in combinations(self.circuits, 2)]
        return sum(_jaccard(one, other) for one, other in pairs) / len(pairs)

    def told(self) -> str:
        """Returns in one sentence how much they differ."""
        sizes = sorted(len(one.scored) for one in self.circuits)
        return (
            f"Over {len(self.circuits)} circuits that differ by {self.by}, of {sizes[0]} to {sizes[-1]} edges, "
            f"{len(self.in_all)} edges are in all and {len(self.shares)} in any; two share {self.jaccard:.2f} of "
            "theirs."
        )


def over_examples(
    question: Question,
    method: str | Discovery | Callable[[Question], Circuit],
    *,
    count: int = 16,
    size: int | None = None,
) -> Stability:
    """Returns the circuits of examples drawn anew from the question's with replacement.

    Draws of as many as there are tell on which side of the threshold an edge is *in these examples*: the share of an
    edge at the threshold can then be anything, however many examples there are. Draws of far fewer tell how often an
    edge is found on so many fresh examples (the m out of n bootstrap, Bickel, Götze & van Zwet 1997, Statistica
    Sinica 7).

    Args:
        question: The network, examples and donor.
        method: How circuits are found, or a function that finds them.
        count: How many.
        size: Examples of each; by default as many as there are.

    Raises:
        SettingError: If there are fewer than two circuits, or ``size`` is below two or above the number of examples.
    """
    at_least(2, count=count)
    n = n_examples(question.data)
    if size is not None:
        at_least(2, size=size)
    size = n if size is None else size
    if size > n:
        raise SettingError(f"size is {size}; there are {n} examples to draw from, so give at most as many.")
    drawn = [
        torch.randint(n, (size,), generator=generator(question.seed, "resampled examples", draw))
        for draw in range(count)
    ]
    asked = [
        replace(
            question,
            data=take(question.data, rows),
            counterfactual=None if question.counterfactual is None else take(question.counterfactual, rows),
        )
        for rows in drawn
    ]
    found = (find_circuit(one, method) if isinstance(method, str | Discovery) else method(one) for one in asked)
    return Stability("examples", tuple(found))


def over_orders(question: Question, *, threshold: float = 0.1, count: int = 8) -> Stability:
    """Returns the circuits that ACDC finds in several random orders of edges."""
    at_least(2, count=count)
    orders = (f"acdc(threshold={threshold!r},order=random,draw={draw})" for draw in range(count))
    return Stability("order", tuple(find_circuit(question, order) for order in orders))


def consensus(stability: Stability, *, least: float = 0.5, graph: Graph | None = None) -> Circuit:
    """Returns the circuit of the edges that a share of circuits hold, each with its share as its score.

    What the circuits do not have in common it tells of all of them, names with commas between; a number that differs
    is 0, and the seeds then stand in ``search``.

    Args:
        stability: The circuits.
        least: The share, from 0 to 1.
        graph: The network's; with it, edges that lead nowhere among those that are left are left out too.
    """
    chosen = [ScoredEdge(edge, share) for edge, share in stability.shares.items() if share >= least]
    if graph is not None:
        heard = graph.heard([one.edge for one in chosen])
        chosen = [one for one in chosen if one.edge.reader in heard]
    names = {name: _all_of(stability, name) for name in ("method", "donor", "loss", "source", "seed")}
    search = {"by": stability.by, "circuits": len(stability.circuits), "least share": least}
    if "," in names["seed"]:
        search["seeds"] = names["seed"]
    return Circuit(
        tuple(chosen), method=f"consensus of {names['method']}", donor=names["donor"], loss=names["loss"],
        source=names["source"], search=search, seed=_one_of(stability, "seed"),
        n_examples=_one_of(stability, "n_examples"), of=_one_of(stability, "of"),
    )  # fmt: skip


def _all_of(stability: Stability, name: str) -> str:
    return ", ".join(dict.fromkeys(str(getattr(one, name)) for one in stability.circuits))


def _one_of(stability: Stability, name: str) -> int:
    different = {getattr(one, name) for one in stability.circuits}
    return different.pop() if len(different) == 1 else 0


def _jaccard(one: set[Edge], other: set[Edge]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0


def matched(circuit: Circuit, reference: Circuit) -> Circuit:
    """Returns a circuit of another training, with its heads numbered as those of a reference that do the same.

    Which head does what is decided by the seed. Of every part with numbered units, such as a block's attention, the
    order is taken with which the two circuits have most edges in common, part after part until nothing changes.

    Raises:
        SettingError: If a part has more than 6 units.
    """
    units = _units([*circuit.edges, *reference.edges])
    large = next((part for part, some in units.items() if len(some) > _MOST_UNITS), None)
    if large is not None:
        raise SettingError(
            f"{large!r} has {len(units[large])} units in the circuits, and roles are matched of up to {_MOST_UNITS}."
        )
    aim, best = set(reference.edges), list(circuit.scored)
    changed = True
    while changed:
        changed = False
        for part, some in units.items():
            for order in permutations(some):
                other = [_renumbered(one, part, dict(zip(some, order, strict=True))) for one in best]
                if _common(other, aim) > _common(best, aim):
                    best, changed = other, True
    return replace(circuit, scored=tuple(best))


def _common(some: Sequence[ScoredEdge], aim: set[Edge]) -> int:
    return len({one.edge for one in some} & aim)


def _units(edges: Sequence[Edge]) -> dict[str, list[int]]:
    """Returns the numbers of the units of every part."""
    found: dict[str, set[int]] = {}
    for edge in edges:
        for side in (edge.sender, edge.reader):
            for text in side.split("+"):
                address = Address.parse(text)
                if len(address.index or ()) == 1:
                    found.setdefault(_part(address.point), set()).update(address.index or ())
    return {part: sorted(some) for part, some in found.items()}


def _part(point: str) -> str:
    return point.rpartition(".")[0]


def _renumbered(one: ScoredEdge, part: str, numbers: dict[int, int]) -> ScoredEdge:
    return replace(one, edge=Edge(*(_side(side, part, numbers) for side in (one.edge.sender, one.edge.reader))))


def _side(text: str, part: str, numbers: dict[int, int]) -> str:
    if "+" in text:
        return text
    address = Address.parse(text)
    if address.index is None or len(address.index) != 1 or _part(address.point) != part:
        return text
    return str(replace(address, index=(numbers[address.index[0]],)))
