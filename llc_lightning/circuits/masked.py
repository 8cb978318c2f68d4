"""Runs in which some edges alone carry what their senders say, and all others what a donor says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.gradients import ChangeAt, Subject
from llc_lightning.circuits.wiring.base import Reader, Sender
from llc_lightning.components.loss import Change
from llc_lightning.runtime.batches import chunks

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 22, 1 << 28
"""Numbers of readers' sums that the lanes of one pass may hold."""


class MaskedRuns:
    """Losses of a network that keeps some of its edges.

    Every reader hears ``sum_s (mask * own + (1 - mask) * donor)``, each sender's own output being that of the same run:
    what is ablated upstream changes it. With all edges it is the network, with none the run on donors alone.

    Args:
        subject: The network, its examples and the donor.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject, self.edges = subject, subject.graph.edges
        self._number = {edge: at for at, edge in enumerate(self.edges)}

    def mask(self, edges: Sequence[Edge]) -> Float[Tensor, "edge"]:
        """Returns 1 for some edges and 0 for all others."""
        found = torch.zeros(len(self.edges))
        found[[self._number[edge] for edge in edges]] = 1.0
        return found

    def number(self, sender: str, reader: Reader) -> int:
        """Returns the number of an edge."""
        return self._number[Edge(sender, reader.component.address)]

    def __call__(self, masks: Float[Tensor, "lane edge"]) -> Float[Tensor, "lane example"]:
        """Returns the loss, or metric, of every example under each mask, mean over the donor's draws.

        Examples that do not count are left out.
        """
        subject = self.subject
        pieces: list[Tensor] = []
        for block in range(len(subject.examples.blocks)):
            draws = [self._of_block(masks, block, draw) for draw in range(subject.donor.draws)]
            counts = subject.examples.blocks.real(block)
            pieces.append(torch.stack(draws).mean(0)[:, counts])
        return torch.cat(pieces, dim=1)

    def _of_block(self, masks: Float[Tensor, "lane edge"], block: int, draw: int) -> Float[Tensor, "lane row"]:
        at = _At.of(self, block, draw)
        with sdpa_kernel(SDPBackend.MATH):
            found = [torch.vmap(at.losses)(masks[some]) for some in chunks(len(masks), self._most)]
        return torch.cat(found)

    @property
    def _most(self) -> int:
        """Lanes of one pass."""
        like = self.subject.examples.first[next(iter(self.subject.graph.readers.values())).stream]
        most = max(len(readers) for readers in self.subject.readers.values())
        numbers = _CPU_NUMBERS if like.device.type == "cpu" else _GPU_NUMBERS
        return max(1, numbers // (self.subject.examples.blocks.size * like.numel() * most))


@dataclass(frozen=True)
class _At:
    """Masked runs on one block of examples under one draw."""

    runs: MaskedRuns
    block: int
    known: Mapping[str, Tensor]
    """The activations of the unablated run."""
    shifts: Mapping[str, Tensor]
    """What the donor adds to the sums that hear each sender."""

    @classmethod
    def of(cls, runs: MaskedRuns, block: int, draw: int) -> _At:
        """Returns them, with all that does not depend on the mask."""
        subject = runs.subject
        known = subject.streams.of(subject.examples.blocks.batches[block])
        return cls(runs, block, known, {name: subject.shift(name, block, draw) for name in subject.graph.senders})

    def losses(self, mask: Float[Tensor, "edge"]) -> Float[Tensor, "row"]:
        """Returns the losses under one mask."""
        said: dict[str, Tensor] = {}
        edits: list[Change] = []
        for point in dict.fromkeys(part.point for one in self._senders.values() for part in one.component.members):
            edits.append(ChangeAt(point, partial(_listen, said, point)))
        edits += [
            ChangeAt(point, partial(self._heard, mask, said, readers))
            for point, readers in self.runs.subject.readers.items()
        ]
        return self.runs.subject.losses(self.block, edits)[0]

    def _heard(self, mask: Tensor, said: dict[str, Tensor], readers: Sequence[Reader], activation: Tensor) -> Tensor:
        """Returns what readers at one hook point make of their sums."""
        streams, first = self.runs.subject.streams, readers[0]
        senders = [edge.sender for edge in self.runs.edges if edge.reader == first.component.address]
        shifts = torch.stack([self.shifts[one] for one in senders])
        own, live = (
            torch.stack([streams.said(self._senders[one], run) for one in senders]) for run in (self.known, said)
        )
        like = self.known[first.stream]
        numbers = [[self.runs.number(sender, one) for sender in senders] for one in readers]
        kept = mask.to(like.device, like.dtype)[torch.tensor(numbers, device=like.device)]
        sums = self.known[first.stream] + shifts.sum(0) + torch.einsum("us,s...->u...", kept, live - own - shifts)
        units = torch.tensor([one.unit for one in readers], device=sums.device)
        values = streams.read(first, sums, units)
        if first.component.units is None:
            return values[0]
        values = values.movedim(0, -2)
        return values if first.component.unit_axis == -2 else values.flatten(-2)

    @property
    def _senders(self) -> Mapping[str, Sender]:
        return self.runs.subject.graph.senders


def _listen(said: dict[str, Tensor], point: str, activation: Tensor) -> Tensor:
    said[point] = activation
    return activation
