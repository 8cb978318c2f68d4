"""Edges in the ablation engine: readers that hear a sender's replacement, several of them in one forward pass.

What is put into the forward pass is what the reader makes of its sum with the sender's part exchanged, before its
normalisation: ``read(sum + write(value) - write(activation))``. That is exact, since the sum is one, and takes no other
forward pass than that behind the reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import Shared
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.lanes import Lanes, Losses
from llc_lightning.ablation.engine.place import Replacement
from llc_lightning.ablation.engine.plan import Pass
from llc_lightning.ablation.engine.replacing import Replacing, Source, at_places
from llc_lightning.ablation.metrics import Metric
from llc_lightning.circuits.exchange import Exchanges, Hearing
from llc_lightning.circuits.wiring.base import Sender
from llc_lightning.components.component import Component
from llc_lightning.runtime.batches import Batch

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 20, 1 << 26
"""Numbers of sums that the lanes of one pass may hold: near a CPU's cache, a small part of a GPU's memory."""


@dataclass(frozen=True)
class SharedEdges:
    """Edges into units of one hook point, under methods that make values for all examples."""

    lanes: Lanes
    """At the readers' hook point."""
    methods: Sequence[Shared]
    components: Sequence[Component]
    senders: Sequence[Sender]
    """Of every edge."""
    hearing: Hearing
    exchanges: Exchanges
    examples: Examples
    chunk: int | None

    @cached_property
    def sources(self) -> Sequence[Source]:
        """One for each method."""
        return [
            Source(method, method.draws, donors=self.exchanges.donors(self.senders, method)) for method in self.methods
        ]

    @property
    def most(self) -> int:
        """Lanes that one forward pass takes."""
        if self.chunk is not None:
            return self.chunk
        like = self.examples.first[self.hearing.readers[0].stream]
        numbers = _CPU_NUMBERS if like.device.type == "cpu" else _GPU_NUMBERS
        return max(1, numbers // (self.examples.blocks.size * like.numel()))

    def losses(self, passes: Sequence[Pass]) -> Iterator[Iterator[Losses]]:
        """Yields for every block of examples the losses of its passes."""
        for block in range(len(self.examples.blocks)):
            yield (self._losses(block, one) for one in passes)

    def _losses(self, block: int, one: Pass) -> Losses:
        examples, batch = self.examples, self.examples.blocks.batches[block]
        which, shifts = [0] * len(one.components), dict[tuple[str, int, int], tuple[int, Tensor]]()
        lanes = [
            (lane, sender, run.kind, run.draw)
            for run in one.runs
            for lane, sender in zip(range(run.lanes.start, run.lanes.stop), self.senders[run.components], strict=True)
        ]
        # A pass may hold nothing but the lane that exchanges nothing, which needs a difference not to take.
        for lane, sender, kind, draw in lanes or [(0, self.senders[0], 0, 0)]:
            key = (sender.component.address, kind, draw)
            if key not in shifts:
                shift = self.exchanges(sender, self.methods[kind], block)[draw]
                shifts[key] = (len(shifts), shift.expand(examples.blocks.size, *shift.shape[1:]))
            which[lane] = shifts[key][0]
        every = torch.stack([shift for _, shift in shifts.values()])
        what = self.hearing(batch, one.components, every, torch.tensor(which, device=every.device))
        return self.lanes(batch, [what], clean=examples.clean[block], answers=examples.answers(block))


@dataclass(frozen=True, kw_only=True)
class FittedEdges(Replacing):
    """Edges from units of one hook point to units of another, under constants that are fitted to each edge.

    The components are the edges' senders, and the places theirs, so that constants are searched for as for the senders
    themselves.
    """

    senders: Sequence[Sender]
    """Of every edge."""
    hearing: Hearing

    def aims(self, numbers: Int[Tensor, "lane"]) -> tuple[Replacement, ...]:
        """Returns where lanes put something at the senders, and which edges they are."""
        return tuple({**aim, "edge": numbers} for aim in super().aims(numbers))

    def run(
        self,
        batch: Batch,
        aims: Sequence[Replacement],
        values: Sequence[Float[Tensor, "lane row ..."]],
        *,
        clean: tuple[Tensor, ...] = (),
        answers: Batch | None = None,
    ) -> Losses:
        """Returns the losses of lanes whose readers hear values from the senders that they aim at."""
        shift = torch.stack([self._shift(at, batch, aims[at], value) for at, value in enumerate(values)]).sum(0)
        what = self.hearing(batch, aims[0]["edge"], shift, torch.arange(len(shift), device=shift.device))
        return self.lanes(batch, [what], clean=clean, answers=answers)

    def fitting(self, *, with_tasks: bool, metrics: Sequence[Metric]) -> FittedEdges:
        """Returns the same edges, whose lanes compute no more than the losses that something is fitted to."""
        own, at = self.lanes, at_places([self.hearing.place], self.examples)
        lanes = Lanes(own.loss, own.params, at, with_tasks=with_tasks, metrics=metrics, mask=own.mask, run=own.run)
        return replace(self, lanes=lanes)

    def _shift(
        self, at: int, batch: Batch, aim: Replacement, value: Float[Tensor, "lane row_or_1 ..."]
    ) -> Float[Tensor, "lane row *position d_model"]:
        """Returns what an exchange at one of the senders' places adds to the sum."""
        place, numbers, streams = self.places[at], aim["edge"].clamp_min(0), self.hearing.streams
        own = streams.of(batch)[place.point]
        said = own[None] if place.units is None else _taken(own, place.unit_axis, place.units[numbers])
        difference = torch.where(aim["where"][:, None], value - said, 0)
        if place.units is not None and place.unit_axis == -2:
            difference = difference.squeeze(-2)
        units = torch.tensor([sender.unit for sender in self.senders], device=difference.device)
        return streams.added(self.senders[0].writes[at], difference, units[numbers])


def _taken(
    values: Float[Tensor, "row *unit"], axis: int, units: Int[Tensor, "lane k"]
) -> Float[Tensor, "lane row *few"]:
    """Returns of an activation the units of each lane."""
    chosen = values.index_select(axis, units.flatten())
    at = values.ndim + axis
    return chosen.reshape(*chosen.shape[:at], *units.shape, *chosen.shape[at + 1 :]).movedim(at, 0)
