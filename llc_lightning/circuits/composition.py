"""Composition of heads: how much of a later head's query, key or value an earlier head makes.

Three views of the same edge: of the weights alone, beside those of random matrices; of what is read on given examples;
and what the edge does, its causal effect. The first two say what could be heard, the third what is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.exact import points_of
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.streams import Streams
from llc_lightning.circuits.wiring.base import Reader, UnitMap
from llc_lightning.runtime.batches import for_params
from llc_lightning.runtime.errors import AddressError, at_least
from llc_lightning.runtime.seeding import generator

PORTS = ("q", "k", "v")


@dataclass(frozen=True)
class Composition:
    """How one head reads another by its query, key or value."""

    edge: Edge
    port: str
    """``q``, ``k`` or ``v``."""
    weights: float
    """``|A B|_F / (|A|_F |B|_F)``, from 0 to 1: A is ``W_V W_O`` of the earlier head, B ``W_Q W_K^T`` of the later one,
    its transpose for keys, and ``W_V W_O`` for values."""
    null: float
    """Its mean over random weights: Gaussian matrices of the same shapes."""
    null_sd: float
    read: float
    """On the examples: root mean square of what reading changes by where the sender's output is taken from the sum,
    over that of what is read."""
    effect: Effect
    """What the donor does along the edge."""

    @property
    def above_null(self) -> float:
        """Standard deviations of the null by which the weights are above it."""
        return (self.weights - self.null) / self.null_sd


def compositions(question: Question, *, draws: int = 32) -> list[Composition]:
    """Returns the composition of every two heads by query, key and value, in the order of the graph.

    Scores of weights are those of Elhage et al. 2021 (A Mathematical Framework for Transformer Circuits); what random
    weights give depends on the shapes alone.

    Args:
        question: The network, examples, donor, and loss or metric of the effects.
        draws: Random networks of the null.

    Raises:
        AddressError: If no two heads follow each other, or heads are not known to be functions of q, k and v.
    """
    at_least(2, draws=draws)
    graph, data = question.graph, for_params(question.data, question.params)
    edges = _between_heads(graph)
    if not edges:
        raise AddressError(
            "there are no two heads of causal attention of which one can hear the other, so that none compose; give a "
            "transformer of two layers or more."
        )
    streams = Streams(question.loss, question.params, points_of(graph, edges))
    found: list[Composition] = []
    with torch.no_grad():
        known = streams.of(data)
        heads = {name: _Head.of(graph, streams, name) for name in graph.senders if _ports(graph, name)}
        for edge, effect in zip(edges, edge_scores(question, "exact", edges), strict=True):
            reader = graph.reader(edge)
            first, second, port = heads[edge.sender], heads[reader.feeds], _port(reader)
            null = _null(first.shape, second.shape, question.seed, draws)
            weights = _composed(first.moved, second.through(port))
            read = _read(streams, known, graph, edge)
            found.append(Composition(edge, port, weights, float(null.mean()), float(null.std()), read, effect))
    return found


@dataclass(frozen=True)
class _Head:
    """The weights of a head."""

    maps: Mapping[str, Float[Tensor, "d_model d_head"]]
    """By ``q``, ``k`` and ``v``."""
    out: Float[Tensor, "d_head d_model"]

    @classmethod
    def of(cls, graph: Graph, streams: Streams, name: str) -> _Head:
        """Returns those of one that is a sender."""
        sender = graph.senders[name]
        maps = {port: _matrix(streams, reader.reads, reader.unit) for port, reader in _ports(graph, name).items()}
        return cls(maps, _matrix(streams, sender.writes[0], sender.unit))

    @property
    def moved(self) -> Float[Tensor, "d_model d_model"]:
        """What it takes from one position to another."""
        return self.maps["v"] @ self.out

    def through(self, port: str) -> Float[Tensor, "d_model d_model"]:
        """Returns what it does with a sum that it reads."""
        if port == "v":
            return self.moved
        return self.maps[port] @ self.maps["k" if port == "q" else "q"].T

    @property
    def shape(self) -> tuple[int, int]:
        """Width of the sum and of the head."""
        return self.out.shape[1], self.out.shape[0]


def _composed(first: Tensor, second: Tensor) -> float:
    return _size(first @ second) / (_size(first) * _size(second))


def _size(values: Tensor) -> float:
    """Returns the Frobenius norm."""
    return float(values.square().sum()) ** 0.5


def _ports(graph: Graph, head: str) -> dict[str, Reader]:
    """Returns what a head reads with; nothing for what is no head."""
    own = [
        one for one in graph.readers.values() if one.feeds == head and one.head is not None and one.reads is not None
    ]
    return {_port(one): one for one in own} if len(own) == len(PORTS) else {}


def _port(reader: Reader) -> str:
    return PORTS[reader.head.reads] if reader.head is not None else ""


def _between_heads(graph: Graph) -> list[Edge]:
    heads = {name for name in graph.senders if _ports(graph, name)}
    return [edge for edge in graph.edges if edge.sender in heads and graph.reader(edge).feeds in heads]


def _matrix(streams: Streams, through: UnitMap | None, unit: int) -> Tensor:
    if through is None:
        raise AddressError("a head that reads or writes the sum itself has no weights to compose.")
    return streams.matrix(through, torch.tensor([unit]))[0].double()


@cache
def _null(first: tuple[int, int], second: tuple[int, int], seed: int, draws: int) -> Float[Tensor, "draw"]:
    """Returns the composition of Gaussian matrices of these shapes."""
    stream = generator(seed, "composition", 0)

    def product(shape: tuple[int, int]) -> Tensor:
        wide, narrow = (torch.randn(shape, generator=stream, dtype=torch.float64) for _ in range(2))
        return wide @ narrow.T

    return torch.tensor([_composed(product(first), product(second)) for _ in range(draws)])


def _read(streams: Streams, known: Mapping[str, Tensor], graph: Graph, edge: Edge) -> float:
    """Returns how much of what is read a sender makes."""
    reader, sums = graph.reader(edge), known[graph.reader(edge).stream]
    without = sums - streams.said(graph.sender(edge), known)
    every, less = streams.read(reader, torch.stack([sums, without]), torch.tensor([reader.unit] * 2)).double()
    return _size(every - less) / _size(every)
