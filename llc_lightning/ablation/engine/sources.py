"""Where the values come from that take the place of activations, and the losses with them.

Here alone the kinds of method are told apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.ablation.engine.base import Activations, Method, Shared, WeightMethod
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.fitted import Fitted, Fitting
from llc_lightning.ablation.engine.group import Group
from llc_lightning.ablation.engine.lanes import Losses
from llc_lightning.ablation.engine.place import Place, Replacement
from llc_lightning.ablation.engine.plan import Pass
from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import SettingError


@dataclass(frozen=True)
class Source:
    """What ablates: a method, or one of several sets of constants that it has fitted."""

    method: Method
    draws: int = 1
    """Ablations of a component, whose mean counts."""
    places: tuple[Iterator[Tensor], ...] = ()
    """For every place the blocks' values for all units [draw, row_or_1, *unit]; none for a fitted method."""
    constants: tuple[Float[Tensor, "component row_or_1 *few"], ...] = ()
    """For every place the components' own values, of a fitted method."""
    losses: tuple[int, ...] | None = None
    """Which losses are measured with them; None for all."""
    counts: Bool[Tensor, "example"] | None = None
    """Which examples count; None for all."""
    details: tuple[Mapping[str, float | str], ...] = ()
    """What is worth knowing about the constants of each component."""
    seen: tuple[Activations, ...] = ()
    """What the method looked at, for every place; none where weights are edited."""


def by_side(methods: Sequence[Method]) -> tuple[list[Method], list[WeightMethod]]:
    """Returns the methods that replace activations, and those that edit weights."""
    editing = [method for method in methods if isinstance(method, WeightMethod)]
    return [method for method in methods if method not in editing], editing


def sources_of(group: Group, methods: Sequence[Method]) -> list[Source]:
    """Returns where the values of methods come from, after fitting those that are fitted.

    Raises:
        SettingError: If a method is of no kind that gives values.
    """
    seen, rows = group.seen(methods), group.examples.blocks.rows
    sources: list[Source] = []
    for method in methods:
        if isinstance(method, Fitted):
            fit = method.fit(Fitting(group, seen))
            sources += [
                Source(method, 1, (), variant.constants, variant.losses, fit.counts, variant.details, seen)
                for variant in fit.variants
            ]
        elif isinstance(method, Shared):
            values = tuple(method.values(place, rows, seed=group.seed) for place in seen)
            sources.append(Source(method, method.draws, values, seen=seen))
        else:
            raise SettingError(f"{type(method).__name__} is neither a Shared nor a Fitted method; derive it from one.")
    return sources


@dataclass(frozen=True)
class Replacing:
    """The components of a group under the values of some sources, in passes of several lanes."""

    group: Group
    sources: Sequence[Source]

    @property
    def examples(self) -> Examples:
        """What is measured on."""
        return self.group.examples

    @property
    def components(self) -> Sequence[Component]:
        """What is ablated."""
        return self.group.components

    @property
    def most(self) -> int:
        """Lanes that one forward pass takes."""
        return self.group.most

    @property
    def vmapped(self) -> bool:
        """Whether the lanes have shared forward passes so far."""
        return self.group.lanes.vmapped

    def losses(self, passes: Sequence[Pass]) -> Iterator[Iterator[Losses]]:
        """Yields for every block of examples the losses of its passes; the blocks must be taken in turn."""
        group, examples = self.group, self.examples
        aims = _split(group.aims(torch.cat([one.components for one in passes])), len(passes[0].components))
        calls = len(passes) * len(examples.blocks)
        for block in range(len(examples.blocks)):
            batch, clean = examples.batch(block), examples.clean[block]
            yield (
                group.run(batch, aim, values, clean=clean, calls=calls)
                for aim, values in zip(aims, self._values(passes), strict=True)
            )

    def _values(self, passes: Sequence[Pass]) -> Iterator[list[Tensor]]:
        """Yields for every pass the values of its lanes at every place; reads one block from the methods."""
        rows, places = self.examples.blocks.size, self.group.places
        block = [self._block(source) for source in self.sources]
        for step in passes:
            values: list[Tensor] = []
            for at, place in enumerate(places):
                like = self.examples.activation(place.point)
                value = like.new_zeros(len(step.components), rows, *place.compact_shape)
                for run in step.runs:
                    source = self.sources[run.kind]
                    if source.places:
                        value[run.lanes] = place.compact(block[run.kind][at][run.draw], run.components)
                    else:
                        value[run.lanes] = source.constants[at][run.components]
                values.append(value)
            yield values

    def _block(self, source: Source) -> list[Float[Tensor, "draw row_or_1 *unit"]]:
        """Returns the next block's values of a shared method at every place; nothing for a fitted one."""
        if not source.places:
            return []
        streams = zip(source.places, self.group.places, strict=True)
        return [self._checked(source.method, next(values), place) for values, place in streams]

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


def _split(aims: Sequence[Replacement], size: int) -> list[tuple[Replacement, ...]]:
    """Returns the replacements of lanes in passes of one size."""
    starts = range(0, len(aims[0]["where"]), size)
    return [
        tuple({name: values[start : start + size] for name, values in aim.items()} for aim in aims) for start in starts
    ]
