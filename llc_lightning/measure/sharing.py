"""How the processes share a measurement: what is dealt to them, and how what they measured becomes one again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from llc_lightning.components.component import Component
from llc_lightning.llc.estimator import lane_batches
from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.workers import Workers
from llc_lightning.sampling.slices import moved_entries

_SHARED = 8
"""What neighbours share costs about as much as so many of them, in a small network (ablations of CIS neurons)."""
_LONGER = 1.25
"""So many times longer the longest stretch may be for neighbours to stay together."""


@dataclass(frozen=True)
class Piece:
    """Work that one process does: some components, under the whole plan or at some rungs of its ladder."""

    components: tuple[Component, ...]
    n_beta: tuple[float, ...] = ()
    """The rungs; () for a plan without any, or for all of them."""
    shares: str = ""
    """Names what it shares with its neighbours of the same name, which each process that measures one pays again."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """What names its components."""
        return tuple(component.address for component in self.components)


def batches(components: Sequence[Component], params: Params) -> list[tuple[Component, ...]]:
    """Returns the components whose chains run as one batch, which costs the same however few of its lanes are there."""
    layouts = [moved_entries(params, component.moved(params)).layout for component in components]
    return [tuple(components[at] for at in batch) for batch in lane_batches(layouts)]


def dealt(pieces: Sequence[Piece], workers: Workers) -> list[Piece]:
    """Returns this process's pieces, neighbours put together: those of the same components, then of the same rungs.

    Example:
        >>> a, b = (Component(name, "neuron") for name in "ab")
        >>> pieces = [Piece((one,), (rung,)) for one in (a, b) for rung in (10.0, 100.0)]
        >>> [(piece.addresses, piece.n_beta) for piece in dealt(pieces, Workers())]
        [(('a', 'b'), (10.0, 100.0))]
        >>> [(piece.addresses, piece.n_beta) for piece in dealt(pieces[:3], Workers())]
        [(('a',), (10.0, 100.0)), (('b',), (10.0,))]
    """
    mine = _stretches(pieces, workers.world_size)[workers.rank]
    ladders = [
        Piece(some[0].components, tuple(rung for piece in some for rung in piece.n_beta))
        for some in _neighbours(mine, lambda piece: piece.addresses)
    ]
    return [
        Piece(tuple(component for piece in some for component in piece.components), some[0].n_beta)
        for some in _neighbours(ladders, lambda piece: piece.n_beta)
    ]


def _stretches(pieces: Sequence[Piece], processes: int) -> list[Sequence[Piece]]:
    """Returns the pieces of every process, one after the other.

    Where neighbours share something they stay together, unless the longest stretch of work is much longer for it, or a
    process would have none.
    """
    if not any(piece.shares for piece in pieces):
        return [Workers(rank, processes).share(pieces) for rank in range(processes)]
    n, names = len(pieces), [piece.shares for piece in pieces]
    edges = [0, *(at for at in range(1, n) if names[at] != names[at - 1]), n]
    cut = [n * rank // processes for rank in range(processes + 1)]
    whole = [min(edges, key=lambda at, rank=rank: abs(at - n * rank / processes)) for rank in range(processes + 1)]

    def longest(ends: list[int]) -> int:
        return max(stop - at + _SHARED * len(set(names[at:stop])) for at, stop in pairwise(ends))

    idle = any(at == stop for at, stop in pairwise(whole))
    ends = cut if idle or longest(whole) > _LONGER * longest(cut) else whole
    return [pieces[at:stop] for at, stop in pairwise(ends)]


def _neighbours(pieces: Sequence[Piece], key: Callable[[Piece], Any]) -> list[list[Piece]]:
    return [list(some) for _, some in groupby(pieces, key)]


def by_component(results: Sequence[tuple[str, Any]], components: Sequence[Component]) -> list[list[Any]]:
    """Returns what was measured of every component, in the order of the components; of each as it was dealt.

    Args:
        results: Of all processes, each with the address of its component.
        components: Of what.
    """
    found: dict[str, list[Any]] = {component.address: [] for component in components}
    for address, result in results:
        found[address].append(result)
    return list(found.values())
