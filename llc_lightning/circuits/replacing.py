"""Edges in the ablation engine: readers that hear a sender's replacement, several of them in one forward pass.

What is put into the forward pass is what the reader makes of its sum with the sender's part exchanged, before its
normalisation: ``read(sum + write(value) - write(activation))``. That is exact, since the sum is one, and takes no other
forward pass than that behind the reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import Shared
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.lanes import AtPoints, Lane, Lanes, Losses
from llc_lightning.ablation.engine.place import Replacement
from llc_lightning.ablation.engine.plan import Pass
from llc_lightning.ablation.engine.replacing import Replacing, Source, at_places
from llc_lightning.ablation.metrics import Metric
from llc_lightning.circuits.exchange import Exchanges, Heard, Hearing
from llc_lightning.circuits.streams import listed
from llc_lightning.circuits.wiring.base import Sender
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 21, 1 << 26
"""Numbers of sums that the lanes of one pass may hold: near a CPU's cache, a small part of a GPU's memory."""
_KEPT = 1 << 24
"""Numbers of exchanges that all passes on a block share; more are put together for each pass."""


@dataclass(frozen=True)
class Behind(AtPoints):
    """Lanes that start from some activations of the unablated run, so that nothing before them is computed again.

    They are told among the weights, by hook point, since what is recorded holds for all examples and weights.
    """

    starts: tuple[str, ...] = ()

    def __call__(self, loss: ModuleLoss, params: Params, lane: Lane, real: Tensor | None) -> tuple[ModuleLoss, Params]:
        """Returns the loss with these, and the replacements behind them."""
        weights = {name: tensor for name, tensor in params.items() if name not in self.starts}
        replaced, weights = super().__call__(loss, weights, lane, real)
        first = [Start(point, params[point]) for point in self.starts]
        return loss.with_edits([*first, *replaced.edits]), weights


@dataclass(frozen=True)
class Start:
    """An activation that is known already."""

    point: str
    value: Tensor

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns it."""
        return self.value


class _Shift(NamedTuple):
    """An exchange at a sender: the number of an edge that it has, of the method, and of the draw."""

    sender: int
    kind: int
    draw: int


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
    starts: tuple[str, ...] = ()
    """The hook points from whose unablated activations lanes start, which the lanes are told."""

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
        named = [self._shifts(one) for one in passes]
        every = list(dict.fromkeys(key for some in named for key in some))
        like = self.examples.first[self.hearing.readers[0].stream]
        fit = len(every) * self.examples.blocks.size * like.numel() <= _KEPT
        for block in range(len(self.examples.blocks)):
            heard = self._heard(block, every) if fit else None
            yield (self._losses(block, *one, every if fit else None, heard) for one in zip(passes, named, strict=True))

    def _shifts(self, one: Pass) -> list[_Shift]:
        """Returns which exchange each lane of a pass makes; any where it makes none."""
        found = [_Shift(0, 0, 0)] * len(one.components)
        for run in one.runs:
            senders = range(run.components.start, run.components.stop)
            for lane, number in zip(range(run.lanes.start, run.lanes.stop), senders, strict=True):
                found[lane] = _Shift(self._first[number], run.kind, run.draw)
        return found

    @cached_property
    def _first(self) -> list[int]:
        """The first edge with the same sender, of every edge."""
        first: dict[str, int] = {}
        return [first.setdefault(one.component.address, at) for at, one in enumerate(self.senders)]

    def _heard(self, block: int, shifts: Sequence[_Shift]) -> Heard:
        size = self.examples.blocks.size
        found = [self.exchanges(self.senders[one.sender], self.methods[one.kind], block)[one.draw] for one in shifts]
        every = torch.stack([one.expand(size, *one.shape[1:]) for one in found])
        return self.hearing.of(self.examples.blocks.batches[block], every)

    def _losses(
        self, block: int, one: Pass, shifts: Sequence[_Shift], every: Sequence[_Shift] | None, heard: Heard | None
    ) -> Losses:
        examples, batch = self.examples, self.examples.blocks.batches[block]
        every = list(dict.fromkeys(shifts)) if every is None else every
        heard = self._heard(block, every) if heard is None else heard
        number = {shift: at for at, shift in enumerate(every)}
        what = heard(listed(one.components), [number[shift] for shift in shifts])
        known = {point: heard.known[point] for point in self.starts}
        return self.lanes(batch, [what], clean=examples.clean[block], answers=examples.answers(block), known=known)


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
        what = self.hearing.of(batch, shift)(listed(aims[0]["edge"]), range(len(shift)))
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
