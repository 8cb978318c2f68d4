"""What senders say less of, and more, when a donor speaks in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import Activations, Shared
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.influence import Donors, together
from llc_lightning.ablation.engine.place import Place, Replacement
from llc_lightning.circuits.streams import Streams
from llc_lightning.circuits.wiring.base import Reader, Sender
from llc_lightning.components.component import Component
from llc_lightning.runtime.batches import Batch

VALUE = 2
"""The number of the value among query, key and value."""
_KEPT = 1 << 26
"""Numbers of differences that are kept at most."""


@dataclass(frozen=True)
class Exchanges:
    """The differences that donors make to what senders add to their sums; those of the latest are kept."""

    examples: Examples
    streams: Streams
    seed: int
    _known: dict[tuple[str, str, int], Tensor] = field(default_factory=dict[tuple[str, str, int], Tensor])
    _moves: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])
    _given: dict[tuple[str, str], Donors | None] = field(default_factory=dict[tuple[str, str], Donors | None])
    _latest: dict[tuple[str, str, int], Tensor] = field(default_factory=dict[tuple[str, str, int], Tensor])
    """How far donors are from whole hook points, of one donor on one block."""

    def __call__(self, sender: Sender, donor: Shared, block: int) -> Float[Tensor, "draw row *position d_model"]:
        """Returns ``write(donor) - write(own)`` on a block of examples, of every draw.

        Behind the draws are those of constants moved towards donors, where :meth:`Shared.donors` tells a step.
        """
        key = (sender.component.address, donor.name, block)
        if key not in self._known:
            while self._known and sum(one.numel() for one in self._known.values()) > _KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[key] = self._difference(sender, donor, block)
        return self._known[key]

    def moves(self, sender: Sender, donor: Shared) -> bool:
        """Says whether a donor changes what a sender says, on any example."""
        key = (sender.component.address, donor.name)
        if key not in self._moves:
            blocks = range(len(self.examples.blocks))
            self._moves[key] = any(bool((self(sender, donor, block)[: donor.draws] != 0).any()) for block in blocks)
        return self._moves[key]

    def donors(self, senders: Sequence[Sender], donor: Shared) -> Donors | None:
        """Returns which examples the values of senders come from."""
        parts = {part.point: part for sender in senders for part in sender.component.members}
        return together([self._donors(part, donor) for part in parts.values()])

    def _donors(self, part: Component, donor: Shared) -> Donors | None:
        key = (part.point, donor.name)
        if key not in self._given:
            self._given[key] = donor.donors(self._seen(part, donor), seed=self.seed)
        return self._given[key]

    def _seen(self, part: Component, donor: Shared) -> Activations:
        return self.examples.seen(part.point, part.axis_in(self.examples.first[part.point]), [donor])

    def _difference(self, sender: Sender, donor: Shared, block: int) -> Tensor:
        total = torch.zeros(())
        for part, writes in zip(sender.component.members, sender.writes, strict=True):
            place = Place.of([part], self.examples.first[part.point], few=True)
            apart = place.compact(self._apart(part, donor, block), slice(None))[0]
            apart = (
                apart if part.positions is None and place.units is not None else torch.where(place.where[0], apart, 0)
            )
            if place.units is not None and place.unit_axis == -2:
                apart = apart.squeeze(-2)
            units = torch.full((len(apart),), sender.unit, device=apart.device)
            total = total + self.streams.added(writes, apart, units)
        return total

    def _apart(self, part: Component, donor: Shared, block: int) -> Float[Tensor, "draw row *unit"]:
        """Returns how far donors are from a whole hook point's own activation on a block."""
        key = (part.point, donor.name, block)
        if key not in self._latest:
            self._latest.clear() if key[1:] != next(iter(self._latest), key)[1:] else None
            rows, seen = self.examples.blocks.rows[block], self._seen(part, donor)
            values = next(donor.values(seen, [rows], seed=self.seed))
            donors = self._donors(part, donor)
            if donors is not None and donors.step is not None:
                moved = next(donor.moved(seen, [rows], seed=self.seed))
                values = torch.cat([values.expand(-1, len(rows), *values.shape[2:]), moved])
            apart = values - self.streams.of(self.examples.blocks.batches[block])[part.point]
            real = self.examples.counting(part.point, part.axis_in(self.examples.first[part.point]))
            # What fills is not exchanged, also where attention sees it.
            self._latest[key] = apart if real is None else torch.where(real[rows.to(real.device)], apart, 0)
        return self._latest[key]


@dataclass(frozen=True)
class Hearing:
    """What is computed of readers when something is added to their sums: their own activation, or what their head says.

    All of them give units of one hook point.
    """

    readers: Sequence[Reader]
    """Of every edge."""
    place: Place
    """The units that are put in."""
    streams: Streams
    by_head: bool
    """Whether readers that are a head's query, key or value give what the head says."""

    @cached_property
    def whole(self) -> bool:
        """Whether all features of what is put in are, so that one entry says where."""
        return bool(self.place.where.all())

    def of(self, batch: Batch, shifts: Float[Tensor, "shift row *position d_model"]) -> Heard:
        """Returns what is put in where some of these are added to sums of the unablated run."""
        return Heard(self, self.streams.of(batch), shifts)


@dataclass(frozen=True)
class Heard:
    """What readers make of their sums on some examples, where one of some shifts is added to them."""

    hearing: Hearing
    known: Mapping[str, Tensor]
    """The activations of the unablated run."""
    shifts: Float[Tensor, "shift row *position d_model"]
    _sums: dict[tuple[str, str], Tensor] = field(default_factory=dict[tuple[str, str], Tensor])

    def __call__(self, numbers: Sequence[int], which: Sequence[int]) -> Replacement:
        """Returns what lanes put in.

        Args:
            numbers: The edge of every lane, -1 for none.
            which: The shift of each lane.
        """
        lanes, device = self._lanes(numbers), self.shifts.device
        points = [reader.component.point for reader in lanes]
        groups = [[at for at, one in enumerate(points) if one == point] for point in dict.fromkeys(points)]
        found = [
            self._heard([lanes[at] for at in some], torch.tensor([which[at] for at in some], device=device))
            for some in groups
        ]
        heard, moved = found[0] if len(found) == 1 else (torch.cat(one) for one in zip(*found, strict=True))
        order = [at for some in groups for at in some]
        if order != sorted(order):
            back = torch.tensor(order, device=device).argsort()
            heard, moved = heard[back], moved[back]
        place, aim = self.hearing.place, self.hearing.place.aims(torch.tensor(numbers, device=device))
        shape = (len(lanes), self.shifts.shape[1], *place.compact_shape)
        # Where nothing is exchanged a reader keeps its bits.
        moved = moved.view(*moved.shape, *(1,) * (len(shape) - moved.ndim))
        where = aim["where"][..., :1] if self.hearing.whole else aim["where"]
        return {**aim, "where": where[:, None] & moved, "value": heard.reshape(shape)}

    def _lanes(self, numbers: Sequence[int]) -> list[Reader]:
        """Returns the reader of every lane; one that puts nothing in has that of the one before it."""
        lanes: list[Reader] = []
        for number in numbers:
            lanes.append(
                self.hearing.readers[number] if number >= 0 else lanes[-1] if lanes else self.hearing.readers[0]
            )
        return lanes

    def _heard(self, readers: Sequence[Reader], which: Int[Tensor, "lane"]) -> tuple[Tensor, Tensor]:
        """Returns what readers at one hook point give, and at which positions that may have changed."""
        streams, moved, first = self.hearing.streams, self._differs[which], readers[0]
        units = torch.tensor([one.unit for one in readers], device=which.device)
        if (first.stream, first.norm) not in self._sums:
            self._sums[first.stream, first.norm] = streams.normalised(first, self.known[first.stream] + self.shifts)
        heard = streams.mapped(first, self._sums[first.stream, first.norm], units, which)
        head = first.head
        if not self.hearing.by_head or head is None:
            return heard, moved
        if head.reads:  # a key or value is heard by all positions behind it
            moved = moved.to(torch.uint8).cummax(-1).values.bool()
        three = [self.known[point].movedim(-2, 0) for point in head.points]
        if head.reads == VALUE:  # patterns stay as they are
            return pattern(*three[:2])[units] @ heard, moved
        return attended(*(heard if at == head.reads else one[units] for at, one in enumerate(three))), moved

    @cached_property
    def _differs(self) -> Bool[Tensor, "shift row *position"]:
        # The largest number, not the sum of squares, which is 0 of small ones.
        return self.shifts.abs().amax(-1) != 0


def attended(
    q: Float[Tensor, "*any position d_head"],
    k: Float[Tensor, "*any position d_head"],
    v: Float[Tensor, "*any position d_head"],
) -> Float[Tensor, "*any position d_head"]:
    """Returns what causal attention makes of queries, keys and values."""
    return pattern(q, k) @ v


def pattern(
    q: Float[Tensor, "*any position d_head"], k: Float[Tensor, "*any position d_head"]
) -> Float[Tensor, "*any position position"]:
    """Returns how much every position attends to those before it and to itself."""
    hidden = q.new_full((q.shape[-2], k.shape[-2]), -torch.inf).triu(1)
    return (q / q.shape[-1] ** 0.5 @ k.transpose(-1, -2)).add_(hidden).softmax(-1)


def holds(readers: Sequence[Reader], known: Mapping[str, Tensor]) -> bool:
    """Says whether the heads of readers are what :func:`attended` makes of their queries, keys and values."""
    for head in {reader.head.output.point: reader.head for reader in readers if reader.head is not None}.values():
        q, k, v = (known[point].transpose(-2, -3) for point in head.points)
        said = known[head.output.point].transpose(-2, -3)
        if q.shape != said.shape or not torch.allclose(attended(q, k, v), said, rtol=1e-4, atol=1e-5):
            return False
    return True
