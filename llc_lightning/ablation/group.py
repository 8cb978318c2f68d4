"""Components that are replaced in the same way at the same hook points, so that one forward pass serves many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.base import Activations, Method, Shared, entry_of
from llc_lightning.ablation.effect import Summary
from llc_lightning.ablation.examples import Examples
from llc_lightning.ablation.fitted import Fitted, Fitting
from llc_lightning.ablation.lanes import Lanes, Losses
from llc_lightning.ablation.moments import Counted
from llc_lightning.ablation.place import Lane, Place
from llc_lightning.ablation.plan import Pass, plan
from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.types import Batch

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 20, 1 << 26
"""Numbers that the lanes of one pass may hold at the hook point: near a CPU's cache, a small part of a GPU's memory."""


@dataclass(frozen=True)
class Source:
    """Where replacement values come from: a method, or one of several sets of constants that it has fitted."""

    method: Method
    places: tuple[Iterator[Tensor], ...] = ()
    """For every place the blocks' values for all units [draw, row_or_1, *unit]; none for a fitted method."""
    constants: tuple[Float[Tensor, "part row_or_1 *few"], ...] = ()
    """For every place the components' own values, of a fitted method."""
    losses: tuple[int, ...] | None = None
    """Which losses are measured with them; None for all."""
    counts: Tensor | None = None
    """Which examples count; None for all."""
    details: tuple[Mapping[str, float | str], ...] = ()
    """What is worth knowing about the constants of each component."""


@dataclass(frozen=True)
class Group:
    """Components of one kind (:func:`~llc_lightning.ablation.place.kind_of`), and what they are measured on."""

    lanes: Lanes
    parts: Sequence[Component]
    places: tuple[Place, ...]
    examples: Examples
    chunk: int | None
    seed: int
    warm: Mapping[str, tuple[Tensor, ...]]
    """Constants of earlier fits, by component, method and loss."""

    @cached_property
    def most(self) -> int:
        """Lanes that one forward pass takes."""
        if self.chunk is not None:
            return self.chunk
        numbers = _CPU_NUMBERS if self.places[0].where.device.type == "cpu" else _GPU_NUMBERS
        largest = max(torch.Size(place.shape).numel() for place in self.places)
        return max(1, numbers // (self.examples.blocks.size * largest))

    def aims(self, parts: Int[Tensor, "lane"]) -> tuple[Lane, ...]:
        """Returns where lanes put something at every place: components by their number, -1 for none."""
        return tuple(place.lanes(parts) for place in self.places)

    def run(
        self,
        batch: Batch,
        aims: Sequence[Lane],
        values: Sequence[Float[Tensor, "lane row ..."]],
        *,
        clean: tuple[Tensor, ...] = (),
        calls: int = 1,
    ) -> Losses:
        """Returns the losses of lanes that put values where they aim at."""
        lanes = [{**aim, "value": value} for aim, value in zip(aims, values, strict=True)]
        return self.lanes(batch, lanes, clean=clean, calls=calls)

    def seen(self, methods: Sequence[Method]) -> tuple[Activations, ...]:
        """Returns what the methods may look at, for every place."""
        return tuple(self.examples.seen(place.point, place.unit_axis, methods) for place in self.places)

    def singles(self) -> Group:
        """Returns the units of all components, each alone, component by component."""
        place = self.places[0]
        units: list[int] = [] if place.units is None else [int(unit) for unit in place.units.flatten()]
        k = len(units) // len(self.parts)
        parts = [replace(self.parts[i // k], units=(unit,)) for i, unit in enumerate(units)]
        like = self.examples.activation(place.point)
        return replace(self, parts=parts, places=(Place.of(parts, like, few=True),), warm={})

    def alone(self, at: int) -> Group:
        """Returns what the components replace at one of the places, alone."""
        parts = [part.members[at] for part in self.parts]
        return replace(self, parts=parts, places=(self.places[at],), warm={})

    def fitting(self, *, with_tasks: bool) -> Group:
        """Returns the same components, whose lanes compute no more than the losses that something is fitted to."""
        points = [(place.point, place.unit_axis) for place in self.places]
        return replace(self, lanes=Lanes(self.lanes.loss, self.lanes.params, points, with_tasks=with_tasks))

    def sources(self, methods: Sequence[Method]) -> list[Source]:
        """Returns where the values of methods come from, after fitting those that are fitted."""
        seen = self.seen(methods)
        found: list[Source] = []
        for method in methods:
            if isinstance(method, Fitted):
                fit = method.fit(Fitting(self, seen))
                found += [
                    Source(method, (), one.constants, one.losses, fit.counts, one.details) for one in fit.variants
                ]
                continue
            if not isinstance(method, Shared):
                raise SettingError(
                    f"{type(method).__name__} is neither a Shared nor a Fitted method; derive it from one."
                )
            rows = self.examples.blocks.rows
            found.append(Source(method, tuple(method.values(one, rows, seed=self.seed) for one in seen)))
        return found

    def measure(self, sources: Sequence[Source], summaries: Sequence[Summary]) -> None:
        """Adds the differences that every source makes on all components to its summary."""
        draws = [source.method.draws if source.places else 1 for source in sources]
        passes = plan(len(self.parts), draws, self.most)
        aims = _split(self.aims(torch.cat([one.parts for one in passes])), len(passes[0].parts))
        blocks, examples = self.examples.blocks, self.examples
        for block in range(len(blocks)):
            batch, counted = examples.batch(block), examples.counted[block]
            outputs = (
                self.run(batch, aim, values, clean=examples.clean[block], calls=len(passes) * len(blocks))
                for aim, values in zip(aims, self._values(sources, passes), strict=True)
            )
            for kind, differences in _differences(passes, outputs, counted, draws, len(self.parts)):
                held = sources[kind].counts
                counts = counted if held is None else [_also(one, held[blocks.rows[block]]) for one in counted]
                summaries[kind].add(differences, counts)

    def _values(self, sources: Sequence[Source], passes: Sequence[Pass]) -> Iterator[list[Tensor]]:
        """Yields for every pass the values of its lanes at every place; reads one block from the methods."""
        rows = self.examples.blocks.size
        read = [
            [
                self._checked(source.method, next(stream), place)
                for stream, place in zip(source.places, self.places, strict=True)
            ]
            if source.places
            else []
            for source in sources
        ]
        for one in passes:
            values: list[Tensor] = []
            for at, place in enumerate(self.places):
                like = self.examples.activation(place.point)
                value = like.new_zeros(len(one.parts), rows, *place.compact_shape)
                for run in one.runs:
                    source = sources[run.kind]
                    if source.places:
                        value[run.lanes] = place.compact(read[run.kind][at][run.draw], run.parts)
                    else:
                        value[run.lanes] = source.constants[at][run.parts]
                values.append(value)
            yield values

    def _checked(self, method: Method, values: Tensor, place: Place) -> Float[Tensor, "draw row_or_1 *unit"]:
        """Returns a method's values.

        Raises:
            SettingError: If their shape or type does not fit the activation.
        """
        dtype = self.examples.activation(place.point).dtype
        allowed = [(method.draws, rows, *place.shape) for rows in (1, self.examples.blocks.size)]
        if tuple(values.shape) not in allowed or values.dtype != dtype:
            raise SettingError(
                f"the ablation method {method.name!r} gave values of shape {tuple(values.shape)} and type "
                f"{values.dtype}; for these activations it must give {allowed[1]} or {allowed[0]} and {dtype}."
            )
        return values


def check_levels(methods: Sequence[Method], parts: Sequence[Component]) -> None:
    """Checks that every method can ablate every component.

    Raises:
        SettingError: If a method that mixes units is asked to ablate some of them.
    """
    for method in methods:
        if not entry_of(method).facts.whole:
            continue
        for part in parts:
            if any(one.units is not None or one.basis is not None for one in part.members):
                raise SettingError(
                    f"the ablation method {method.name!r} mixes units, so it cannot ablate {part.address!r}; ablate "
                    "whole hook points with it, such as 'layers'."
                )


def _split(aims: Sequence[Lane], size: int) -> list[tuple[Lane, ...]]:
    """Returns lanes in passes of one size."""
    starts = range(0, len(aims[0]["where"]), size)
    return [
        tuple({name: values[start : start + size] for name, values in aim.items()} for aim in aims) for start in starts
    ]


def _also(counted: Counted, held: Tensor) -> Counted:
    """Returns which losses count among those of some examples."""
    rows = held.to(counted.mask.device).float()[None, :, None].expand(1, -1, counted.mask.shape[1])
    return Counted(counted.mask & (counted.pack(rows)[0] > 0), counted.index)


def _differences(
    passes: Sequence[Pass],
    outputs: Iterator[Losses],
    counted: Sequence[Counted],
    draws: Sequence[int],
    parts: int,
) -> Iterator[tuple[int, list[Float[Tensor, "component packed task"]]]]:
    """Yields, kind by kind, the paired differences of one block, averaged over draws in the order of the draws."""
    unablated: list[Tensor] = []
    sums: list[Tensor] = []
    for step, losses in zip(passes, outputs, strict=True):
        full = [
            count.pack(values).to(torch.promote_types(values.dtype, torch.float32))
            for count, values in zip(counted, losses, strict=True)
        ]
        if not unablated:
            unablated = [values[0] for values in full]
            sums = [values.new_zeros(parts, *values.shape[1:]) for values in full]
        for run in step.runs:
            for total, values, base in zip(sums, full, unablated, strict=True):
                difference = values[run.lanes] - base
                if run.draw == 0:
                    total[run.parts] = difference
                else:
                    total[run.parts] += difference
            if run.draw == draws[run.kind] - 1 and run.parts.stop == parts:
                yield run.kind, [total / draws[run.kind] for total in sums]
