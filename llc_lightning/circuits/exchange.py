"""What senders say less of, and more, when a donor speaks in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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

_VALUE = 2
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
        return together([donor.donors(self._seen(part, donor), seed=self.seed) for part in parts.values()])

    def _seen(self, part: Component, donor: Shared) -> Activations:
        return self.examples.seen(part.point, part.axis_in(self.examples.first[part.point]), [donor])

    def _difference(self, sender: Sender, donor: Shared, block: int) -> Tensor:
        rows, known = self.examples.blocks.rows[block], self.streams.of(self.examples.blocks.batches[block])
        total = torch.zeros(())
        for part, writes in zip(sender.component.members, sender.writes, strict=True):
            seen = self._seen(part, donor)
            values = next(donor.values(seen, [rows], seed=self.seed))
            donors = donor.donors(seen, seed=self.seed)
            if donors is not None and donors.step is not None:
                moved = next(donor.moved(seen, [rows], seed=self.seed))
                values = torch.cat([values.expand(-1, len(rows), *values.shape[2:]), moved])
            place = Place.of([part], self.examples.first[part.point], few=True)
            own = place.compact(known[part.point], slice(None))
            apart = torch.where(
                place.where[0], torch.stack([place.compact(one, slice(None))[0] for one in values]) - own, 0
            )
            real = self.examples.counting(part.point, part.axis_in(self.examples.first[part.point]))
            if real is not None:  # what fills is not exchanged, also where attention sees it
                apart = torch.where(real[rows.to(real.device)], apart, 0)
            if place.units is not None and place.unit_axis == -2:
                apart = apart.squeeze(-2)
            units = torch.full((len(apart),), sender.unit, device=apart.device)
            total = total + self.streams.added(writes, apart, units)
        return total


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

    def __call__(
        self,
        batch: Batch,
        numbers: Int[Tensor, "lane"],
        shifts: Float[Tensor, "shift row *position d_model"],
        which: Int[Tensor, "lane"],
    ) -> Replacement:
        """Returns what lanes put in.

        Args:
            batch: The examples.
            numbers: The edge of every lane, -1 for none.
            shifts: What is added.
            which: The one of each lane.
        """
        lanes = [self.readers[int(number)] for number in numbers.clamp_min(0)]
        points = [reader.component.point for reader in lanes]
        groups = [[at for at, one in enumerate(points) if one == point] for point in dict.fromkeys(points)]
        # The largest number, not the sum of squares, which is 0 of small ones.
        differs = shifts.abs().amax(-1) != 0
        found = [self._heard(batch, [lanes[at] for at in some], shifts, which[some], differs) for some in groups]
        if len(found) == 1:
            heard, moved = found[0]
        else:
            order = torch.tensor([at for some in groups for at in some], device=shifts.device).argsort()
            heard, moved = (torch.cat(one)[order] for one in zip(*found, strict=True))
        shape, aim = (len(lanes), shifts.shape[1], *self.place.compact_shape), self.place.aims(numbers)
        # Where nothing is exchanged a reader keeps its bits.
        moved = moved.view(*moved.shape, *(1,) * (len(shape) - moved.ndim))
        return {**aim, "where": aim["where"][:, None] & moved, "value": heard.reshape(shape)}

    def _heard(
        self,
        batch: Batch,
        readers: Sequence[Reader],
        shifts: Float[Tensor, "shift row *position d_model"],
        which: Int[Tensor, "lane"],
        differs: Bool[Tensor, "shift row *position"],
    ) -> tuple[Tensor, Tensor]:
        """Returns what readers at one hook point give, and at which positions that may have changed."""
        known, moved = self.streams.of(batch), differs[which]
        units = torch.tensor([one.unit for one in readers], device=shifts.device)
        heard = self.streams.read(readers[0], known[readers[0].stream] + shifts, units, which)
        heads = [reader.head for reader in readers if reader.head is not None]
        if not self.by_head or not heads:
            return heard, moved
        if heads[0].reads:  # a key or value is heard by all positions behind it
            moved = moved.to(torch.uint8).cummax(-1).values.bool()
        three = [known[point].movedim(-2, 0) for point in heads[0].points]
        if heads[0].reads == _VALUE:  # patterns stay as they are
            return pattern(*three[:2])[units] @ heard, moved
        return attended(*(heard if at == heads[0].reads else one[units] for at, one in enumerate(three))), moved


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
    hidden = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
    scores = (q / q.shape[-1] ** 0.5 @ k.transpose(-1, -2)).masked_fill_(hidden, -torch.inf)
    return scores.softmax(-1)


def holds(readers: Sequence[Reader], known: Mapping[str, Tensor]) -> bool:
    """Says whether the heads of readers are what :func:`attended` makes of their queries, keys and values."""
    for head in {reader.head.output.point: reader.head for reader in readers if reader.head is not None}.values():
        q, k, v = (known[point].transpose(-2, -3) for point in head.points)
        said = known[head.output.point].transpose(-2, -3)
        if q.shape != said.shape or not torch.allclose(attended(q, k, v), said, rtol=1e-4, atol=1e-5):
            return False
    return True
