"""The graph of a network: its parts, and the connections between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import nn

from llc_lightning.circuits.edge import ARROW, Edge
from llc_lightning.circuits.wiring.base import FAMILIES, GraphOptions, Reader, Sender, Wiring
from llc_lightning.components.address import Address
from llc_lightning.runtime.errors import AddressError, nearest


@dataclass(frozen=True)
class Graph:
    """All connections of a network, in the order in which its forward pass comes to their readers.

    A connection is the part that one sender's output has in the sum that a reader is a function of: of a transformer
    what a head reads of another as its query, key or value.

    Args:
        wiring: Who writes and who reads.

    Example:
        >>> from llc_lightning.models.hand_built import hand_built_induction
        >>> graph = Graph.of(hand_built_induction())
        >>> len(graph.edges), [str(edge) for edge in graph.select("net.hook_embed -> net.blocks.0.attn.hook_?[1]")][0]
        (106, 'net.hook_embed -> net.blocks.0.attn.hook_q[1]')
    """

    wiring: Wiring

    @classmethod
    def of(cls, module: nn.Module, *, joined: bool = False, neurons: bool = False) -> Graph:
        """Returns the graph of a module.

        Args:
            module: A module of a registered family.
            joined: Whether the embeddings of token and position are one sender, as other libraries have it.
            neurons: Whether the neurons of MLPs are senders and readers of their own, instead of each MLP as a whole.

        Raises:
            AddressError: If the module is of no family.
        """
        options = GraphOptions(joined=joined, neurons=neurons)
        for _, entry in FAMILIES.items():
            wiring = entry.item(module, options)
            if wiring is not None:
                return cls(wiring)
        families = "; ".join(entry.summary for _, entry in FAMILIES.items())
        raise AddressError(
            f"{type(module).__name__} has no sums whose parts are known, so that it has no edges; there are edges in: "
            f"{families}."
        )

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All connections."""
        return self.wiring.edges

    @cached_property
    def _every(self) -> frozenset[Edge]:
        return frozenset(self.wiring.edges)

    @property
    def senders(self) -> Mapping[str, Sender]:
        """Who writes, by address."""
        return self.wiring.senders

    @property
    def readers(self) -> Mapping[str, Reader]:
        """Who reads, by address."""
        return self.wiring.readers

    def sender(self, edge: Edge) -> Sender:
        """Returns who writes, at the positions that the edge names."""
        whole, at = _without_positions(edge.sender)
        found = self.senders[whole]
        if at is None:
            return found
        parts = tuple(replace(part, positions=at) for part in found.component.parts)
        return replace(found, component=replace(found.component, address=edge.sender, positions=at, parts=parts))

    def reader(self, edge: Edge) -> Reader:
        """Returns who reads."""
        return self.readers[edge.reader]

    def heard(self, edges: Collection[Edge]) -> set[str]:
        """Returns the readers from which some edges lead on to the output; all whose sender is not known count."""
        kept = set(edges)
        return self.heard_of([edge in kept for edge in self.edges])

    def heard_of(self, kept: Sequence[bool]) -> set[str]:
        """Returns the same, given of every edge whether it is one of them."""
        on, heard = set[str](), set[str]()
        for (sender, reader, feeds), one in zip(reversed(self._ends), reversed(kept), strict=True):
            if not feeds or feeds in on:  # who hears a sender comes behind it
                heard.add(reader)
                if one:
                    on.add(sender)
        return heard

    @cached_property
    def _ends(self) -> list[tuple[str, str, str]]:
        """Of every edge the sender, the reader, and the sender that this one feeds."""
        return [(edge.sender, edge.reader, self.readers[edge.reader].feeds) for edge in self.edges]

    def select(self, spec: str | Edge | Sequence[str | Edge]) -> list[Edge]:
        """Returns the edges that are meant, each once, in the order given and then in the graph's own order.

        Args:
            spec: One or several of: an edge; its text; a glob over edges, in which ``*`` stands for any characters and
                ``?`` for one; ``*`` alone for all of them. Positions behind a sender take it at these alone.

        Raises:
            AddressError: If an entry names no edge of this graph.
        """
        found: dict[Edge, None] = {}
        for one in [spec] if isinstance(spec, str | Edge) else spec:
            found.update(
                dict.fromkeys([one] if isinstance(one, Edge) and one in self._every else self._named(str(one)))
            )
        return list(found)

    def _named(self, text: str) -> list[Edge]:
        if text == "*":
            return list(self.edges)
        if "*" not in text and "?" not in text:
            return [self._checked(Edge.parse(text))]
        sender, arrow, reader = text.partition(ARROW)
        bare, _, at = sender.partition("@")
        like = re.compile(_pattern(f"{bare}{arrow}{reader}"))
        some = [edge for edge in self.edges if like.fullmatch(str(edge))]
        if not some:
            raise AddressError(f"{text!r} matches no edge of this network; one is {str(self.edges[0])!r}.")
        return [replace(edge, sender=f"{edge.sender}@{at}") for edge in some] if at else some

    def _checked(self, edge: Edge) -> Edge:
        sender, _ = _without_positions(edge.sender)
        if Edge(sender, edge.reader) in self._every:
            return edge
        for what, name, there in (("sender", sender, self.senders), ("reader", edge.reader, self.readers)):
            if name not in there:
                close = " or ".join(map(repr, nearest(name, there)))
                told = f"; did you mean {close}?" if close else f"; one is {next(iter(there))!r}."
                raise AddressError(f"unknown {what} {name!r} of the edge {str(edge)!r}{told}")
        raise AddressError(
            f"the reader of {str(edge)!r} does not lie behind its sender, so that there is no such edge; the readers "
            f"of {sender!r} begin with {next(one.reader for one in self.edges if one.sender == sender)!r}."
        )


def at_positions(edges: Sequence[Edge], positions: Sequence[int]) -> list[Edge]:
    """Returns every edge at each of some positions of a sequence.

    Example:
        >>> [str(one) for one in at_positions([Edge("net.hook_embed", "net.out")], [0, 1])]
        ['net.hook_embed@0 -> net.out', 'net.hook_embed@1 -> net.out']
    """
    return [replace(edge, sender=f"{edge.sender}@{position}") for edge in edges for position in positions]


def _without_positions(sender: str) -> tuple[str, tuple[int, ...] | None]:
    """Returns a sender's address, and the positions behind it."""
    bare, _, at = sender.partition("@")
    return bare, Address.parse(f"x@{at}").positions if at else None


def _pattern(glob: str) -> str:
    """Returns the regular expression of a glob, whose brackets are those of units."""
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
