"""Components that are replaced in the same way at the same hook points, so that one forward pass serves many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import Activations, Method
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.lanes import AtPoints, Lanes, Losses
from llc_lightning.ablation.engine.place import Place, Replacement
from llc_lightning.components.component import Component
from llc_lightning.runtime.batches import Batch

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 20, 1 << 26
"""Numbers that the lanes of one pass may hold at the hook point: near a CPU's cache, a small part of a GPU's memory."""


@dataclass(frozen=True)
class Group:
    """Components of one kind (:func:`~llc_lightning.ablation.engine.place.kind_of`), and what they are measured on."""

    lanes: Lanes
    components: Sequence[Component]
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

    def aims(self, numbers: Int[Tensor, "lane"]) -> tuple[Replacement, ...]:
        """Returns where lanes put something at every place: components by their number, -1 for none."""
        return tuple(place.aims(numbers) for place in self.places)

    def run(
        self,
        batch: Batch,
        aims: Sequence[Replacement],
        values: Sequence[Float[Tensor, "lane row ..."]],
        *,
        clean: tuple[Tensor, ...] = (),
        calls: int = 1,
    ) -> Losses:
        """Returns the losses of lanes that put values where they aim at."""
        replacements = [{**aim, "value": value} for aim, value in zip(aims, values, strict=True)]
        return self.lanes(batch, replacements, clean=clean, calls=calls)

    def seen(self, methods: Sequence[Method]) -> tuple[Activations, ...]:
        """Returns what the methods may look at, for every place."""
        return tuple(self.examples.seen(place.point, place.unit_axis, methods) for place in self.places)

    def singles(self) -> Group:
        """Returns the units of all components, each alone, component by component."""
        place = self.places[0]
        units: list[int] = [] if place.units is None else [int(unit) for unit in place.units.flatten()]
        k = len(units) // len(self.components)
        components = [replace(self.components[i // k], units=(unit,)) for i, unit in enumerate(units)]
        like = self.examples.activation(place.point)
        return replace(self, components=components, places=(Place.of(components, like, few=True),), warm={})

    def alone(self, at: int) -> Group:
        """Returns what the components replace at one of the places, alone."""
        components = [component.members[at] for component in self.components]
        return replace(self, components=components, places=(self.places[at],), warm={})

    def fitting(self, *, with_tasks: bool) -> Group:
        """Returns the same components, whose lanes compute no more than the losses that something is fitted to."""
        at = AtPoints(tuple((place.point, place.unit_axis) for place in self.places))
        return replace(self, lanes=Lanes(self.lanes.loss, self.lanes.params, at, with_tasks=with_tasks))
