"""Components with replaced activations, several of them in one forward pass.

Here alone the kinds of method are told apart.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import Activations, Method, Shared, WeightMethod, resolve_methods
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.influence import Donors, together
from llc_lightning.ablation.engine.lanes import AtPoints, Lanes, Losses
from llc_lightning.ablation.engine.place import Place, Replacement
from llc_lightning.ablation.engine.plan import Pass
from llc_lightning.ablation.metrics import Metric
from llc_lightning.components.component import Component
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import SettingError

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 20, 1 << 26
"""Numbers that the lanes of one pass may hold at the hook point: near a CPU's cache, a small part of a GPU's memory."""


@dataclass(frozen=True)
class Source:
    """What ablates: a method, or one of several sets of constants that it has fitted."""

    method: Method
    draws: int = 1
    """Ablations of a component, whose mean counts."""
    places: tuple[Iterator[Tensor], ...] = ()
    """For every place the blocks' values for all units [draw, row_or_1, *unit]; none for a fitted method."""
    moved: tuple[Iterator[Tensor], ...] = ()
    """For every place constants moved towards donors [draw, row, *unit], where they are estimated."""
    donors: Donors | None = None
    """Which examples gave the values."""
    constants: tuple[Float[Tensor, "component fold ..."], ...] = ()
    """For every place the values of the units that each component replaces there, of a fitted method."""
    folds: Int[Tensor, "example"] | None = None
    """Which of the constants each example takes; None where there is one for all."""
    kept: tuple[int, ...] = ()
    """Positions that keep their activation."""
    losses: tuple[int, ...] | None = None
    """Which losses are measured with them, by their number; None for all."""
    details: tuple[Mapping[str, float | str], ...] = ()
    """For every component what is worth knowing about its constants."""
    seen: tuple[Activations, ...] = ()
    """What the method looked at, for every place; none where weights are edited."""

    @property
    def probes(self) -> int:
        """Ablations of a component that only tell how it depends on the examples that a constant is estimated from."""
        return 0 if self.donors is None or self.donors.step is None else len(self.donors.by_draw)


@dataclass(frozen=True)
class Fitted(Method):
    """A method whose values are found by running the network: it fits constants of its own to each component."""

    @abstractmethod
    def fit(self, fitting: Fitting) -> list[Source]:
        """Returns the constants of all components of a group, in one set for all losses or in several.

        Random numbers are keyed by the group's seed.
        """
        ...


@dataclass(frozen=True)
class Fitting:
    """What a method may use to fit its values."""

    group: Replacing
    """The components, and how to run them."""
    seen: tuple[Activations, ...]
    """The activations at each place."""


def at_places(places: Sequence[Place], examples: Examples) -> AtPoints:
    """Returns where lanes put something, with the positions that a mask is about."""
    positions = [examples.position_axes(place.point, place.unit_axis) for place in places] if examples.mask else []
    return AtPoints(tuple((place.point, place.unit_axis) for place in places), tuple(positions))


def lanes_at_once(numbers: int, device: torch.device) -> int:
    """Returns how many lanes one forward pass takes, given the numbers of one at the hook point."""
    return max(1, (_CPU_NUMBERS if device.type == "cpu" else _GPU_NUMBERS) // numbers)


def by_side(methods: Sequence[Method]) -> tuple[list[Method], list[WeightMethod]]:
    """Returns the methods that replace activations, and those that edit weights."""
    editing = [method for method in methods if isinstance(method, WeightMethod)]
    return [method for method in methods if method not in editing], editing


def check_replacing(methods: Sequence[str]) -> None:
    """Checks that methods replace activations, so that weights may move meanwhile.

    Raises:
        SettingError: If one is unknown, or edits weights.
    """
    editing = by_side(resolve_methods(methods))[1] if methods else []
    if editing:
        raise SettingError(
            f"{editing[0].name!r} edits weights, and chains would move them on; use ablations of activations, such as "
            "'zero' or 'mean'."
        )


@dataclass(frozen=True)
class Replacing:
    """Components that are replaced in the same way at the same hook points, under the values of some methods.

    They are of one kind (:func:`~llc_lightning.ablation.engine.place.kind_of`), so that one forward pass serves many.
    """

    lanes: Lanes
    """At the places' hook points."""
    methods: Sequence[Method]
    components: Sequence[Component]
    places: tuple[Place, ...]
    examples: Examples
    chunk: int | None
    seed: int
    warm: Mapping[str, tuple[Tensor, ...]]
    """Constants of earlier fits, by component, method and loss."""
    kept: tuple[int, ...] = ()
    """Positions that keep their activation, whatever the values."""

    @cached_property
    def sources(self) -> Sequence[Source]:
        """Where the values come from, after fitting those that are fitted.

        Raises:
            SettingError: If a method is of no kind that gives values.
        """
        seen = tuple(self.examples.seen(place.point, place.unit_axis, self.methods) for place in self.places)
        return [source for method in self.methods for source in self._sources(method, seen)]

    def _sources(self, method: Method, seen: tuple[Activations, ...]) -> list[Source]:
        if isinstance(method, Fitted):
            return [replace(source, seen=seen) for source in method.fit(Fitting(self, seen))]
        if isinstance(method, Shared):
            rows = self.examples.blocks.rows
            values = tuple(method.values(place, rows, seed=self.seed) for place in seen)
            donors = together([method.donors(place, seed=self.seed) for place in seen])
            source = Source(method, method.draws, values, donors=donors, seen=seen)
            if source.probes:
                source = replace(source, moved=tuple(method.moved(place, rows, seed=self.seed) for place in seen))
            return [source]
        raise SettingError(f"{type(method).__name__} is neither a Shared nor a Fitted method; derive it from one.")

    @cached_property
    def most(self) -> int:
        """Lanes that one forward pass takes."""
        if self.chunk is not None:
            return self.chunk
        largest = max(torch.Size(place.shape).numel() for place in self.places)
        return lanes_at_once(self.examples.blocks.size * largest, self.places[0].where.device)

    def aims(self, numbers: Int[Tensor, "lane"]) -> tuple[Replacement, ...]:
        """Returns where lanes put something at every place: components by their number, -1 for none."""
        aims = (place.aims(numbers) for place in self.places)
        return tuple(self._spared(at, aim, slice(None), self.kept) for at, aim in enumerate(aims))

    def _spared(self, at: int, aim: Replacement, lanes: slice, kept: tuple[int, ...]) -> Replacement:
        """Returns a replacement that some of its lanes do not make at some positions."""
        if not kept:
            return aim
        where = self.places[at].at_positions(aim["where"]).clone()
        where[lanes, list(kept)] = False
        return {**aim, "where": where}

    def _aims(self, one: Pass) -> list[Replacement]:
        """Returns where the lanes of a pass put something, each by what its source spares."""
        aims = list(self.aims(one.components))
        for run in one.runs:
            kept = self.sources[run.kind].kept
            aims = [self._spared(at, aim, run.lanes, kept) for at, aim in enumerate(aims)]
        return aims

    def run(
        self,
        batch: Batch,
        aims: Sequence[Replacement],
        values: Sequence[Float[Tensor, "lane row ..."]],
        *,
        clean: tuple[Tensor, ...] = (),
        answers: Batch | None = None,
    ) -> Losses:
        """Returns the losses of lanes that put values where they aim at."""
        replacements = [{**aim, "value": value} for aim, value in zip(aims, values, strict=True)]
        return self.lanes(batch, replacements, clean=clean, answers=answers)

    def singles(self) -> Replacing:
        """Returns the units of all components, each alone, component by component."""
        place = self.places[0]
        units: list[int] = [] if place.units is None else [int(unit) for unit in place.units.flatten()]
        k = len(units) // len(self.components)
        components = [replace(self.components[i // k], units=(unit,)) for i, unit in enumerate(units)]
        like = self.examples.first[place.point]
        return replace(self, components=components, places=(Place.of(components, like, few=True),), warm={})

    def alone(self, at: int) -> Replacing:
        """Returns what the components replace at one of the places, alone."""
        components = [component.members[at] for component in self.components]
        return replace(self, components=components, places=(self.places[at],), warm={})

    def fitting(self, *, with_tasks: bool, metrics: Sequence[Metric]) -> Replacing:
        """Returns the same components, whose lanes compute no more than the losses that something is fitted to."""
        lanes = self.lanes
        at = at_places(self.places, self.examples)
        fitting = Lanes(
            lanes.loss, lanes.params, at, with_tasks=with_tasks, metrics=metrics, mask=lanes.mask, run=lanes.run
        )
        return replace(self, lanes=fitting)

    def losses(self, passes: Sequence[Pass]) -> Iterator[Iterator[Losses]]:
        """Yields for every block of examples the losses of its passes; the blocks must be taken in turn."""
        examples = self.examples
        aims = [self._aims(one) for one in passes]
        for block in range(len(examples.blocks)):
            batch, clean, answers = examples.blocks.batches[block], examples.clean[block], examples.answers(block)
            yield (
                self.run(batch, aim, values, clean=clean, answers=answers)
                for aim, values in zip(aims, self._values(passes, examples.blocks.rows[block]), strict=True)
            )

    def _values(self, passes: Sequence[Pass], rows: Int[Tensor, "row"]) -> Iterator[list[Tensor]]:
        """Yields for every pass the values of its lanes at every place; reads one block from the methods."""
        block = [self._block(source) for source in self.sources]
        for step in passes:
            values: list[Tensor] = []
            for at, place in enumerate(self.places):
                like = self.examples.first[place.point]
                value = like.new_zeros(len(step.components), self.examples.blocks.size, *place.compact_shape)
                for run in step.runs:
                    source = self.sources[run.kind]
                    if source.places:
                        value[run.lanes] = place.compact(block[run.kind][at][run.draw], run.components)
                    else:
                        constants = source.constants[at][run.components]
                        folds = None if source.folds is None else source.folds[rows].to(constants.device)
                        value[run.lanes] = constants if folds is None else constants[:, folds]
                values.append(value)
            yield values

    def _block(self, source: Source) -> list[list[Float[Tensor, "row_or_1 *unit"]]]:
        """Returns the next block's values of a shared method at every place, by draw; nothing for a fitted one."""
        by_place: list[list[Tensor]] = []
        for at, values in enumerate(source.places):
            by_draw = list(self._checked(source.method, next(values), self.places[at], source.draws))
            if source.moved:
                by_draw += self._checked(source.method, next(source.moved[at]), self.places[at], source.probes)
            by_place.append(by_draw)
        return by_place

    def _checked(
        self, method: Method, values: Tensor, place: Place, draws: int
    ) -> Float[Tensor, "draw row_or_1 *unit"]:
        """Returns a method's values.

        Raises:
            SettingError: If their shape or type does not fit the activation.
        """
        dtype = self.examples.first[place.point].dtype
        allowed = [(draws, rows, *place.shape) for rows in (1, self.examples.blocks.size)]
        if tuple(values.shape) not in allowed or values.dtype != dtype:
            raise SettingError(
                f"the ablation method {method.name!r} gave values of shape {tuple(values.shape)} and type "
                f"{values.dtype}; for these activations it must give {allowed[1]} or {allowed[0]} and {dtype}."
            )
        return values
