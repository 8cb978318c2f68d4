"""Runs in which some edges alone carry what their senders say, and all others what a donor says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from llc_lightning.circuits.by_hand import ByHand, Shares, Signals
from llc_lightning.circuits.constants import Constants
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.gradients import ChangeAt, Subject
from llc_lightning.circuits.streams import listed
from llc_lightning.circuits.wiring.base import Reader
from llc_lightning.components.loss import Change
from llc_lightning.runtime.batches import chunks
from llc_lightning.runtime.signals import stop_if_asked

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 22, 1 << 28
"""Numbers of readers' sums that the lanes of one pass may hold."""
_KEPT = 1 << 26
"""Numbers of what donors say, and of what was read of it, that are kept at most."""


class MaskedRuns:
    """Losses of a network that keeps some of its edges.

    Every reader hears ``sum_s (mask * own + (1 - mask) * donor)``, each sender's own output being that of the same run:
    what is ablated upstream changes it. With all edges it is the network, with none the run on donors alone.

    Readers that hear all that they hear in the network are left alone, and so are those from which no kept edge leads
    on; what lies before the first that is not is computed once for all masks. Losses under a mask are the same from
    call to call up to rounding, which depends on the masks beside it and on what earlier calls have left to compute.

    Args:
        subject: The network, its examples and the donor.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject, self.edges = subject, subject.graph.edges
        self._number = {edge: at for at, edge in enumerate(self.edges)}
        self._blocks: dict[tuple[int, int], _Block] = {}

    def mask(self, edges: Sequence[Edge]) -> Float[Tensor, "edge"]:
        """Returns 1 for some edges and 0 for all others."""
        found = torch.zeros(len(self.edges))
        found[[self._number[edge] for edge in edges]] = 1.0
        return found

    def number(self, sender: str, reader: Reader) -> int:
        """Returns the number of an edge."""
        return self._number[Edge(sender, reader.component.address)]

    def __call__(
        self,
        masks: Float[Tensor, "lane edge"],
        *,
        given: Float[Tensor, "lane edge"] | None = None,
        constants: Constants | None = None,
        blocks: Sequence[int] | None = None,
    ) -> Float[Tensor, "lane example"]:
        """Returns the loss, or metric, of every example under each mask, mean over the donor's draws.

        Examples that do not count are left out.

        Args:
            masks: The share of a sender's live output that each edge carries.
            given: The share of the donor's; ``1 - masks`` by default. An edge that carries neither says what it says in
                the unablated run.
            constants: What senders say where they are ablated, in the place of the donor.
            blocks: Which blocks of examples; all by default.
        """
        stop_if_asked()
        subject = self.subject
        given = 1 - masks if given is None else given
        pieces: list[Tensor] = []
        for block in range(len(subject.examples.blocks)) if blocks is None else blocks:
            draws = range(1 if constants is not None else subject.donor.draws)
            known = [self._block(block, draw, constants) for draw in draws]
            counts = subject.examples.blocks.real(block)
            pieces.append(torch.stack([one.losses(masks, given) for one in known]).mean(0)[:, counts])
        return torch.cat(pieces, dim=1)

    def touched(self, masks: Tensor, given: Tensor) -> list[Reader]:
        """Returns the readers that hear something else than in the network, under any mask, and are heard."""
        graph = self.subject.graph
        if masks.requires_grad or given.requires_grad:
            return list(graph.readers.values())
        changed = listed(((masks != 1) | (given != 0)).any(0))
        names = {edge.reader for edge, on in zip(self.edges, changed, strict=True) if on} & self.live(masks)
        return [reader for name, reader in graph.readers.items() if name in names]

    def live(self, masks: Float[Tensor, "lane edge"]) -> set[str]:
        """Returns the readers from which some edges that are kept under any mask lead on to the output."""
        return self.subject.graph.heard_of(listed((masks != 0).any(0)))

    @cached_property
    def numbers(self) -> dict[str, slice]:
        """The numbers of the edges into each reader, which stand together."""
        found: dict[str, slice] = {}
        for at, edge in enumerate(self.edges):
            found[edge.reader] = slice(found.get(edge.reader, slice(at, at)).start, at + 1)
        return found

    @cached_property
    def by_hand(self) -> ByHand:
        """Runs without the module, where it is one of attention alone."""
        return ByHand(self.subject)

    def _block(self, block: int, draw: int, constants: Constants | None) -> _Block:
        if constants is not None:
            return _Block.of(self, block, constants.shifts(self.subject, block))
        if (block, draw) not in self._blocks:
            while self._blocks and sum(one.numbers for one in self._blocks.values()) > _KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            shifts = [self.subject.shift(name, block, draw) for name in self.subject.graph.senders]
            self._blocks[block, draw] = _Block.of(self, block, shifts)
        return self._blocks[block, draw]

    @cached_property
    def most(self) -> int:
        """Lanes of one pass."""
        like = self.subject.examples.first[next(iter(self.subject.graph.readers.values())).stream]
        most = max(len(readers) for readers in self.subject.readers.values())
        numbers = _CPU_NUMBERS if like.device.type == "cpu" else _GPU_NUMBERS
        return max(1, numbers // (self.subject.examples.blocks.size * like.numel() * most))


@dataclass(frozen=True)
class _Block:
    """Masked runs on one block of examples, under one draw."""

    runs: MaskedRuns
    block: int
    known: Mapping[str, Tensor]
    """The activations of the unablated run."""
    shifts: Sequence[Tensor]
    """What the donor adds to that, of each sender [row, *position, d_model]: layers may differ in width."""
    together: Float[Tensor, "sender row *position d_model"] | None
    """The same in one, for runs by hand, where all senders add to one sum."""
    read: dict[tuple[str, tuple[float, ...]], Tensor] = field(default_factory=dict[Any, Tensor])
    """What heads have read of the donor; see :class:`Signals`."""

    @classmethod
    def of(cls, runs: MaskedRuns, block: int, shifts: Sequence[Tensor]) -> _Block:
        """Returns a block with all that does not depend on masks."""
        subject, together = runs.subject, torch.stack(list(shifts)) if runs.by_hand.holds else None
        shifts = shifts if together is None else together.unbind()
        return cls(runs, block, subject.streams.of(subject.examples.blocks.batches[block]), shifts, together)

    @cached_property
    def own(self) -> list[Tensor]:
        """What senders add to sums in the unablated run."""
        subject = self.runs.subject
        return [subject.streams.said(one, self.known) for one in subject.graph.senders.values()]

    @property
    def numbers(self) -> int:
        """How many numbers it keeps."""
        return sum(one.numel() for one in self.shifts) + sum(one.numel() for one in self.read.values())

    @cached_property
    def finite(self) -> bool:
        """Whether donors say finite numbers alone, so that 0 of them is nothing."""
        return all(bool(one.sum().isfinite()) for one in self.shifts)

    def losses(self, masks: Tensor, given: Tensor) -> Float[Tensor, "lane row"]:
        """Returns the losses under each mask."""
        if self.together is not None and not (masks.requires_grad or self.together.requires_grad):
            by_hand = partial(self._by_hand, self.together)
            return torch.cat([by_hand(masks[some], given[some]) for some in chunks(len(masks), self.runs.most)])
        touched = self.runs.touched(masks, given)
        if not touched:
            return self.runs.subject.losses(self.block, [])[0].expand(len(masks), -1)
        lanes = partial(self._lane, touched)
        with sdpa_kernel(SDPBackend.MATH):
            return torch.cat(
                [torch.vmap(lanes)(masks[some], given[some]) for some in chunks(len(masks), self.runs.most)]
            )

    def _by_hand(self, shifts: Tensor, masks: Tensor, given: Tensor) -> Float[Tensor, "lane row"]:
        """Returns the losses under each mask, of heads alone."""
        live = self.runs.live(masks)
        numbers = {name: some for name, some in self.runs.numbers.items() if name in live}
        kept, exchanged = listed(masks.any(0)), listed(given.any(0))
        shares = {
            name: Shares(masks[:, some], given[:, some], kept[some], any(exchanged[some]))
            for name, some in numbers.items()
        }
        signals = Signals(self.runs.by_hand, self.known, shifts, self.finite, shares, self.read)
        return self.runs.by_hand.losses(self.block, signals.last_sums())

    def _lane(self, touched: Sequence[Reader], mask: Tensor, given: Tensor) -> Float[Tensor, "row"]:
        """Returns the losses under one mask."""
        said: dict[str, Tensor] = {}
        senders = self.runs.subject.graph.senders
        points = dict.fromkeys(part.point for one in senders.values() for part in one.component.members)
        edits: list[Change] = [ChangeAt(point, partial(_listen, said, point)) for point in points]
        before = {edge.sender for edge in self.runs.edges if edge.reader == touched[0].component.address}
        for point in dict.fromkeys(reader.component.point for reader in touched):
            some = [reader for reader in touched if reader.component.point == point]
            edits.append(ChangeAt(point, partial(self._heard, (mask, given), said, some, before)))
        return self.runs.subject.losses(self.block, edits)[0]

    def _heard(
        self,
        carried: tuple[Tensor, Tensor],
        said: dict[str, Tensor],
        readers: Sequence[Reader],
        before: set[str],
        activation: Tensor,
    ) -> Tensor:
        """Returns what readers at one hook point make of their sums; senders ``before`` say what they always say."""
        streams, first, senders = self.runs.subject.streams, readers[0], self.runs.subject.graph.senders
        like, names = self.known[first.stream], list(senders)
        heard = [edge.sender for edge in self.runs.edges if edge.reader == first.component.address]
        live = [name for name in heard if name not in before]
        mask, given = carried
        shifts = torch.stack([self.shifts[names.index(name)] for name in heard])
        sums = like + self._carried(given, readers, heard, shifts.detach())
        if shifts.requires_grad:  # constants learn where an edge is ablated altogether, or shares would bias them
            fully = self._carried(torch.where(mask == 0, given, 0).detach(), readers, heard, shifts)
            sums = sums + fully - fully.detach()
        if live:
            differences = [streams.said(senders[name], said) - self.own[names.index(name)] for name in live]
            sums = sums + self._carried(mask, readers, live, torch.stack(differences))
        values = streams.read(first, sums, torch.tensor([one.unit for one in readers], device=sums.device))
        return self._put(activation, readers, values)

    def _carried(
        self, shares: Tensor, readers: Sequence[Reader], senders: Sequence[str], values: Tensor
    ) -> Float[Tensor, "reader row *position d_model"]:
        """Returns the sums over senders of what is carried to each reader."""
        numbers = [[self.runs.number(sender, one) for sender in senders] for one in readers]
        shares = shares.to(values.device, values.dtype)[torch.tensor(numbers, device=values.device)]
        return (shares @ values.flatten(1)).view(len(readers), *values.shape[1:])

    def _put(self, activation: Tensor, readers: Sequence[Reader], values: Tensor) -> Tensor:
        """Returns an activation with what some readers make in its place."""
        first = readers[0].component
        if first.units is None:
            return values[0]
        every = self.runs.subject.readers[first.point]
        apart = activation if first.unit_axis == -2 else activation.view(*activation.shape[:-1], len(every), -1)
        units = list(apart.unbind(-2))
        for reader, value in zip(readers, values, strict=True):
            units[every.index(reader)] = value
        together = torch.stack(units, dim=-2)
        return together if first.unit_axis == -2 else together.flatten(-2)


def _listen(said: dict[str, Tensor], point: str, activation: Tensor) -> Tensor:
    said[point] = activation
    return activation
