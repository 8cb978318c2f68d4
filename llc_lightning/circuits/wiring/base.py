"""What must be known of a family of networks to take its connections apart: who adds to a sum, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from llc_lightning.circuits.edge import Edge
from llc_lightning.components.component import Component
from llc_lightning.runtime.registry import NoFacts, Registry

View: TypeAlias = Callable[[Tensor], Float[Tensor, "unit *rest"]]


@dataclass(frozen=True)
class UnitMap:
    """A linear map with a matrix of its own for each unit, as slices of one parameter."""

    weight: str
    """The parameter's name."""
    view: View
    """Returns of the parameter the matrices [unit, input, output]."""
    bias: str = ""
    """The name of what is added; '' for nothing."""
    bias_view: View | None = None
    """Returns of it what is added for each unit [unit, output]."""


@dataclass(frozen=True)
class Sender:
    """A part of a network whose output is added to a sum that others read."""

    component: Component
    """Where its output is read and exchanged."""
    writes: tuple[UnitMap | None, ...]
    """For each member of the component what takes it into the sum; None where its activation is what is added."""
    unit: int = 0
    """Which of the maps' matrices is its own."""


@dataclass(frozen=True)
class Head:
    """A head of causal attention as a function of its own query, key and value alone.

    That is ``softmax(q k^T / sqrt(d_head) + causal) v`` where it holds, which is looked at before it is used.
    """

    output: Component
    """What it says."""
    points: tuple[str, str, str]
    """The hook points of queries, keys and values, [.., head, d_head]."""
    unit: int
    """Its number at these."""
    reads: int
    """Which of the three a reader gives."""


@dataclass(frozen=True)
class Reader:
    """A part of a network that is a function of a sum."""

    component: Component
    """What is computed from the sum."""
    stream: str
    """The hook point of the sum."""
    norm: str = ""
    """The path of the submodule that normalises the sum for it; '' for none."""
    reads: UnitMap | None = None
    """What takes the normalised sum to its activation; None where that is the sum itself."""
    unit: int = 0
    """Which of the map's matrices is its own."""
    attention: str = ""
    """The path of the attention module whose pattern it decides, which has ``hook_pattern``; '' for none."""
    feeds: str = ""
    """The sender that alone is computed from it; '' where that is the output, or not one."""
    head: Head | None = None
    """The head whose query, key or value it is, where that is a function of the three: so that nothing of the others is
    computed again."""


@dataclass(frozen=True)
class Wiring:
    """All parts of a network that write or read, by name, and its connections from the first to the last."""

    senders: Mapping[str, Sender]
    readers: Mapping[str, Reader]
    edges: tuple[Edge, ...]
    layers: tuple[tuple[str, ...], ...] = ()
    """For every layer the hook points of all that it adds to the sum, where there are layers."""
    smooth: Mapping[str, str] = field(default_factory=dict[str, str])
    """The hook points behind activation functions, each with that of what the function takes."""
    whole: bool = False
    """Whether all senders of a reader's edges add up to its sum, but for what is the same for all examples."""


@dataclass(frozen=True)
class Order:
    """Collects who writes and who reads, as the forward pass comes to them: a reader hears all before it."""

    senders: dict[str, Sender] = field(default_factory=dict[str, Sender])
    readers: dict[str, Reader] = field(default_factory=dict[str, Reader])
    edges: list[Edge] = field(default_factory=list[Edge])

    def writes(self, *senders: Sender) -> None:
        """Adds senders, whom all later readers hear."""
        self.senders.update((one.component.address, one) for one in senders)

    def reads(self, reader: Reader) -> None:
        """Adds a reader, with its edges."""
        self.readers[reader.component.address] = reader
        self.edges.extend(Edge(sender, reader.component.address) for sender in self.senders)


@dataclass(frozen=True)
class GraphOptions:
    """How fine a graph is."""

    joined: bool = False
    """Whether the embeddings of token and position are one sender, as other libraries have it."""
    neurons: bool = False
    """Whether the neurons of MLPs are senders and readers of their own, instead of each MLP as a whole."""


Family: TypeAlias = Callable[[nn.Module, GraphOptions], Wiring | None]
"""Returns the wiring of a module; None where it is of another family."""

FAMILIES: Registry[Family, NoFacts] = Registry("family of networks", NoFacts, rooms=("llc_lightning.circuits.wiring",))
"""All families; the first that knows a module tells its wiring."""
