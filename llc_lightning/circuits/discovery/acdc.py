"""Automatic circuit discovery: edge by edge, from the output back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from llc_lightning.circuits.circuit import Circuit, ScoredEdge
from llc_lightning.circuits.discovery.base import DISCOVERIES, Discovery, rise
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError, at_least, unknown
from llc_lightning.runtime.seeding import generator

ORDERS = ("latest", "earliest", "random")


@DISCOVERIES.register(
    "acdc", summary="removes edge after edge, from the output back, where the loss rises by less than a threshold",
    source="Conmy et al. 2023, arXiv:2304.14997",
)  # fmt: skip
@dataclass(frozen=True)
class ACDC(Discovery):
    """An edge goes where ``loss without it - loss so far < threshold``, and what comes later is decided without it.

    Which edges stay depends on the order in which they are asked about, and no order is the right one: readers come
    from the output back, and of each the latest sender first, the earliest, or all edges into a layer's readers in a
    random order, one of each ``draw``.

    Decisions are those of one run after the other. Each forward pass removes several edges in a row, one more in
    each lane, and all before the first that must stay are decided by it; edges whose reader leads nowhere any more
    go without a run, since they change nothing.
    """

    threshold: float = 0.1
    """In nats, or the metric's unit."""
    order: str = "latest"
    draw: int = 0
    lanes: int = 3
    """Edges that one forward pass removes: what it says of those behind one that stays is thrown away."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        at_least(1, lanes=self.lanes)
        if self.order not in ORDERS:
            raise SettingError(unknown("order", self.order, ORDERS))
        if not self.threshold > 0:
            raise SettingError(f"threshold is {self.threshold}; give a number above 0, below which edges go.")

    def ordered(self, graph: Graph, seed: int) -> list[list[Edge]]:
        """Returns the edges in the order in which they are asked about, those into readers of one sum together."""
        groups = [list(some) for _, some in groupby(graph.edges, lambda edge: graph.reader(edge).stream)]
        stream = generator(seed, "order of edges", self.draw)
        return [self._within(graph, some, stream) for some in reversed(groups)]

    def _within(self, graph: Graph, edges: Sequence[Edge], stream: torch.Generator) -> list[Edge]:
        if self.order == "random":
            return [edges[int(at)] for at in torch.randperm(len(edges), generator=stream)]
        if self.order == "latest":
            return list(reversed(edges))
        return [edge for _, some in reversed(_by_reader(edges)) for edge in some]

    def find(self, runs: MaskedRuns) -> Circuit:
        """Returns the edges that stay, each with what its removal cost when it was asked about."""
        graph, kept = runs.subject.graph, dict.fromkeys(runs.edges)
        mask, current, stay, lanes = runs.mask(runs.edges), None, list[ScoredEdge](), 1
        for pending in self.ordered(graph, runs.subject.question.seed):
            heard = graph.heard(kept)
            gone = [edge for edge in pending if edge.reader not in heard]
            mask = mask * (1 - runs.mask(gone))
            asked = [edge for edge in pending if edge.reader in heard]
            for edge in gone:
                del kept[edge]
            while asked:
                some = asked[: self.lanes]
                without = mask * (1 - torch.stack([runs.mask([edge]) for edge in some]).cumsum(0))
                with torch.no_grad():
                    losses = list(runs(without if current is not None else torch.cat([mask[None], without])))
                lanes += len(some)
                current = losses.pop(0) if current is None else current
                for edge, after, left in zip(some, losses, without, strict=True):
                    found = rise(after, current, edge)
                    asked.pop(0)
                    if not found.score < self.threshold:
                        stay.append(found)
                        break
                    del kept[edge]
                    current, mask = after, left
        return self.circuit(runs, stay, {"order": self._told, "threshold": self.threshold, "lanes": lanes})

    @property
    def _told(self) -> str:
        return f"random {self.draw}" if self.order == "random" else self.order


def _by_reader(edges: Sequence[Edge]) -> list[tuple[str, list[Edge]]]:
    return [(name, list(some)) for name, some in groupby(edges, lambda edge: edge.reader)]
