"""Where and how components are replaced: one hook point, and for each component which of its entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.delta import Delta, Few
from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import AddressError, SettingError

Replacement: TypeAlias = dict[str, Tensor]
"""What one ablation does at one hook point: ``where`` and ``value``, and ``units`` or ``basis`` where it has such."""

Kind: TypeAlias = tuple[str, int, int, int, bool]
"""What components must share to be ablated together: point, axis, number of few units, number of directions, and
whether they are at single positions."""

_FEW = 64
"""Up to so many units are replaced one by one; more by a mask over all of them."""


@dataclass(frozen=True)
class ReplacementAt:
    """A replacement with its hook point: what is done to the activation there."""

    point: str
    unit_axis: int
    what: Replacement

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns the activation with the replacement.

        Raises:
            SettingError: If mask or value do not broadcast against the activation.
        """
        where, value = self.what["where"], self.what["value"].to(activation.dtype)
        if "units" in self.what:
            return Delta.of(activation, Few(self.unit_axis, self.what["units"], where, value))
        if "basis" in self.what:
            basis = self.what["basis"].to(activation.dtype)
            value = activation + ((value - activation) @ basis.T) @ basis
        return torch.where(where, value, activation).contiguous()


@dataclass(frozen=True)
class Place:
    """One hook point, and for each of some components of one kind which of its entries are replaced there."""

    point: str
    unit_axis: int
    shape: tuple[int, ...]
    """Of one example's activation."""
    where: Bool[Tensor, "component *entry"]
    """Which entries, to broadcast; 1 along the units' axis where ``units`` names them."""
    units: Int[Tensor, "component k"] | None = None
    """The units, where they are few."""
    basis: Float[Tensor, "component direction unit"] | None = None
    """The directions, where they are what is replaced."""

    @classmethod
    def of(cls, components: Sequence[Component], activation: Tensor, *, few: bool) -> Place:
        """Returns the place of components that are of one kind.

        Args:
            components: The components.
            activation: One example's activation.
            few: Whether to name few units one by one, where there are few.

        Raises:
            AddressError: If a unit or a position is outside of the activation.
            SettingError: If directions do not have the size of the activation.
        """
        first = components[0]
        _, axis, k, directions, _ = kind_of(first, activation, few=few)
        _check_units(components, activation)
        if k and first.positions is None:
            where = torch.ones((len(components), *(1,) * activation.ndim), dtype=torch.bool, device=activation.device)
        else:
            where = torch.stack([_where(component, activation, with_units=not k) for component in components])
        units = basis = None
        if k:
            units = torch.tensor([component.units for component in components], device=activation.device)
        if directions:
            basis = torch.stack([_basis(component, activation) for component in components]).to(activation)
        return cls(first.point, axis, tuple(activation.shape), where, units, basis)

    @property
    def compact_shape(self) -> tuple[int, ...]:
        """The shape of one example's value: the activation's, with the units that are replaced alone."""
        if self.units is None:
            return self.shape
        shape = list(self.shape)
        shape[self.unit_axis] = self.units.shape[1]
        return tuple(shape)

    def compact(self, values: Float[Tensor, "row *unit"], components: slice) -> Float[Tensor, "component row *few"]:
        """Returns of values for all units those that some components take."""
        if self.units is None:
            count = len(range(*components.indices(len(self.where))))
            return values[None].expand(count, *values.shape)
        units = self.units[components]
        # One gather for all components; its axis of units is then taken apart, and that of the components goes first.
        chosen = values.index_select(self.unit_axis, units.flatten())
        axis = values.ndim + self.unit_axis
        shape = (*chosen.shape[:axis], *units.shape, *chosen.shape[axis + 1 :])
        return chosen.reshape(shape).movedim(axis, 0)

    def at_positions(self, where: Bool[Tensor, "lane *entry"]) -> Bool[Tensor, "lane position *rest"]:
        """Returns where lanes replace something, with an entry for each position of a sequence.

        Raises:
            SettingError: If the activation has no such axis, or several that could be meant.
        """
        if len(self.shape) + self.unit_axis != 1:
            raise SettingError(
                f"positions of {self.point!r} are to be kept, but its activation has shape {self.shape} per example, "
                "without one axis of positions ahead of the units; leave out 'keep'."
            )
        return where.expand(-1, self.shape[0], *where.shape[2:])

    def aims(self, numbers: Int[Tensor, "lane"]) -> Replacement:
        """Returns the replacements of components, but for the values, with a leading axis of lanes.

        Args:
            numbers: The number of each lane's component, -1 for none: it replaces nothing.
        """
        which = numbers.clamp_min(0)
        on = (numbers >= 0).view(-1, *(1,) * (self.where.ndim - 1))
        replacement = {"where": self.where[which] & on}
        if self.units is not None:
            replacement["units"] = self.units[which]
        if self.basis is not None:
            replacement["basis"] = self.basis[which]
        return replacement


def kind_of(component: Component, activation: Tensor, *, few: bool) -> Kind:
    """Returns what a component must share with others to be ablated together with them.

    Args:
        component: A component at one hook point.
        activation: One example's activation there.
        few: Whether few units are named one by one.
    """
    axis = -1 if component.basis is not None else component.axis_in(activation)
    k = 0
    if few and component.units is not None and len(component.units) <= _FEW and activation.dtype.itemsize >= 4:
        k = len(component.units)
    directions = 0 if component.basis is None else len(component.basis)
    return component.point, axis, k, directions, component.positions is not None


def ablatable(components: Sequence[Component]) -> Sequence[Component]:
    """Returns components, after checking that there are some and that each has an activation.

    Raises:
        AddressError: If there is none, or one has no activation side.
    """
    check_some(components)
    for component in components:
        check_ablatable(component)
    return components


def check_some(components: Sequence[Component]) -> None:
    """Checks that there are components.

    Raises:
        AddressError: If there is none.
    """
    if not components:
        raise AddressError("no component is given; give some, such as 'neurons', 'layers' or an address.")


def check_ablatable(component: Component) -> None:
    """Checks that a component has an activation side.

    Raises:
        AddressError: If it has none.
    """
    if not component.point:
        raise AddressError(
            f"{component.address!r} has no activation, so it cannot be ablated; address a hook point or units of one, "
            "such as 'layers' or 'neurons'."
        )


def _check_units(components: Sequence[Component], activation: Tensor) -> None:
    """Checks that the components' units are in the activation.

    Raises:
        AddressError: If they are not.
    """
    for component in components:
        axis, most = component.axis_in(activation), component.most_axes
        if component.units is not None and most is not None and activation.ndim > most:
            raise AddressError(
                f"{component.address!r} names units, but nothing tells which axis of {component.point!r} they lie "
                f"along: its activation has shape {tuple(activation.shape)} per example; address the layer that makes "
                "it, or declare the axis with weight_axes()."
            )
        width = activation.shape[axis] if -axis <= activation.ndim else 0
        if max(component.units or (0,)) >= width:
            raise AddressError(
                f"{component.address!r} is outside the activation of {component.point!r}, which has shape "
                f"{tuple(activation.shape)} per example with its units on axis {axis}."
            )


def _where(component: Component, activation: Tensor, *, with_units: bool) -> Bool[Tensor, "*entry"]:
    if with_units and component.basis is None:
        where = component.unit_mask(activation)
    else:
        where = torch.ones((1,) * -component.axis_in(activation), dtype=torch.bool, device=activation.device)
    ahead = activation.ndim + component.axis_in(activation)
    where = where.expand((1,) * ahead + tuple(where.shape))
    if component.positions is None:
        return where
    size = activation.shape[0]
    if ahead > 1:
        raise AddressError(
            f"{component.address!r} names positions, but the activation of {component.point!r} has shape "
            f"{tuple(activation.shape)} per example, with several axes that could be meant; give the module a hook "
            "point of [example, position, unit]."
        )
    if ahead < 1 or not all(-size <= position < size for position in component.positions):
        raise AddressError(
            f"{component.address!r} names positions {', '.join(map(str, component.positions))}, but the activation of "
            f"{component.point!r} has shape {tuple(activation.shape)} per example, with "
            f"{f'{size} positions' if ahead else 'no axis of positions'}."
        )
    at = torch.zeros(size, dtype=torch.bool, device=activation.device)
    at[list(component.positions)] = True
    return where & at.view(-1, *(1,) * (activation.ndim - 1))


def _basis(component: Component, activation: Tensor) -> Tensor:
    basis = component.basis
    if basis is None or basis.shape[-1] != activation.shape[-1]:
        width = 0 if basis is None else basis.shape[-1]
        raise SettingError(
            f"the directions of {component.address!r} have {width} coordinates, but the activation of "
            f"{component.point!r} has shape {tuple(activation.shape)} per example; give one for each unit."
        )
    return basis


def in_common(some: Sequence[Component], others: Sequence[Component]) -> tuple[Component, Component] | None:
    """Returns the first two with entries of one activation in common, one of each; None where there are none."""
    pairs = ((one, other) for one in some for other in others)
    return next((p for p in pairs if any(_overlap(a, b) for a in p[0].members for b in p[1].members)), None)


def _overlap(a: Component, b: Component) -> bool:
    """Says whether two components have entries of one activation in common; positions count as they are written."""

    def meet(some: tuple[int, ...] | None, others: tuple[int, ...] | None) -> bool:
        return some is None or others is None or bool(set(some) & set(others))

    return a.point == b.point and meet(a.units, b.units) and meet(a.positions, b.positions)
