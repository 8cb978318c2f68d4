"""Where and how components are replaced: one hook point, and for each component which of its entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.delta import Delta, Few
from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import AddressError, SettingError

Lane: TypeAlias = dict[str, Tensor]
"""What one ablation does at one hook point: ``where`` and ``value``, and ``units`` or ``basis`` where it has such."""

Kind: TypeAlias = tuple[str, int, int, int, bool]
"""What components must share to be ablated together: point, axis, number of few units, number of directions, and
whether they are at single positions."""

_FEW = 64
"""Up to so many units are replaced one by one; more by a mask over all of them."""


@dataclass(frozen=True)
class Replacement:
    """The replacement at a hook point that a lane describes."""

    point: str
    unit_axis: int
    lane: Lane

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns the activation with the replacement.

        Raises:
            SettingError: If mask or value do not broadcast against the activation.
        """
        h = activation
        where, value = self.lane["where"], self.lane["value"].to(h.dtype)
        if "units" in self.lane:
            return Delta.of(h, Few(self.unit_axis, self.lane["units"], where, value))
        if "basis" in self.lane:
            basis = self.lane["basis"].to(h.dtype)
            value = h + ((value - h) @ basis.T) @ basis
        return torch.where(where, value, h).contiguous()


@dataclass(frozen=True)
class Place:
    """One hook point, and for each of some components of one kind which of its entries are replaced there."""

    point: str
    unit_axis: int
    shape: tuple[int, ...]
    """Of one example's activation."""
    where: Bool[Tensor, "part *entry"]
    """Which entries, to broadcast; 1 along the units' axis where ``units`` names them."""
    units: Int[Tensor, "part k"] | None = None
    """The units, where they are few."""
    basis: Float[Tensor, "part direction unit"] | None = None
    """The directions, where they are what is replaced."""

    @classmethod
    def of(cls, parts: Sequence[Component], activation: Tensor, *, few: bool) -> Place:
        """Returns the place of components that are of one kind.

        Args:
            parts: The components.
            activation: One example's activation.
            few: Whether to name few units one by one, where there are few.

        Raises:
            AddressError: If a unit or a position is outside of the activation.
            SettingError: If directions do not have the size of the activation.
        """
        first = parts[0]
        _, axis, k, directions, _ = kind_of(first, activation, few=few)
        _check_units(parts, activation)
        if k and first.positions is None:
            where = torch.ones((len(parts), *(1,) * activation.ndim), dtype=torch.bool, device=activation.device)
        else:
            where = torch.stack([_where(part, activation, with_units=not k) for part in parts])
        units = basis = None
        if k:
            units = torch.tensor([part.units for part in parts], device=activation.device)
        if directions:
            basis = torch.stack([_basis(part, activation) for part in parts]).to(activation)
        return cls(first.point, axis, tuple(activation.shape), where, units, basis)

    @property
    def compact_shape(self) -> tuple[int, ...]:
        """The shape of one example's value: the activation's, with the units that are replaced alone."""
        if self.units is None:
            return self.shape
        shape = list(self.shape)
        shape[self.unit_axis] = self.units.shape[1]
        return tuple(shape)

    def compact(self, values: Float[Tensor, "row *unit"], parts: slice) -> Float[Tensor, "part row *few"]:
        """Returns of values for all units those that some components take."""
        if self.units is None:
            count = len(range(*parts.indices(len(self.where))))
            return values[None].expand(count, *values.shape)
        units = self.units[parts]
        chosen = values.index_select(self.unit_axis, units.flatten())
        axis = values.ndim + self.unit_axis
        shape = (*chosen.shape[:axis], *units.shape, *chosen.shape[axis + 1 :])
        return chosen.reshape(shape).movedim(axis, 0)

    def lanes(self, parts: Int[Tensor, "lane"]) -> Lane:
        """Returns lanes that put something into components, but for the values; a component of -1 gets nothing.

        Args:
            parts: The number of each lane's component, -1 for none.
        """
        which = parts.clamp_min(0)
        on = (parts >= 0).view(-1, *(1,) * (self.where.ndim - 1))
        lane = {"where": self.where[which] & on}
        if self.units is not None:
            lane["units"] = self.units[which]
        if self.basis is not None:
            lane["basis"] = self.basis[which]
        return lane


def kind_of(part: Component, activation: Tensor, *, few: bool) -> Kind:
    """Returns what a component must share with others to be ablated together with them.

    Args:
        part: A component at one hook point.
        activation: One example's activation there.
        few: Whether few units are named one by one.
    """
    axis = -1 if part.basis is not None else part.unit_axis
    k = 0
    if few and part.units is not None and len(part.units) <= _FEW and activation.dtype.itemsize >= 4:
        k = len(part.units)
    return part.point, axis, k, 0 if part.basis is None else len(part.basis), part.positions is not None


def ablatable(parts: Sequence[Component]) -> Sequence[Component]:
    """Returns components, after checking that there are some and that each can be ablated.

    Raises:
        AddressError: If there is none, or one has no activation side.
    """
    if not parts:
        raise AddressError("no component is given; give some, such as 'neurons', 'layers' or an address.")
    for part in parts:
        check_ablatable(part)
    return parts


def check_ablatable(part: Component) -> None:
    """Checks that a component has an activation side.

    Raises:
        AddressError: If it has none.
    """
    if not part.point:
        raise AddressError(
            f"{part.address!r} has weights alone and cannot be ablated; choose layers, neurons or other units."
        )


def _check_units(parts: Sequence[Component], activation: Tensor) -> None:
    """Checks that the components' units are in the activation.

    Raises:
        AddressError: If they are not.
    """
    for part in parts:
        width = activation.shape[part.unit_axis] if -part.unit_axis <= activation.ndim else 0
        if max(part.units or (0,)) >= width:
            raise AddressError(
                f"{part.address!r} is outside the activation of {part.point!r}, which has shape "
                f"{tuple(activation.shape)} per example with its units on axis {part.unit_axis}."
            )


def _where(part: Component, activation: Tensor, *, with_units: bool) -> Bool[Tensor, "*entry"]:
    if with_units and part.basis is None:
        where = part.unit_mask(activation)
    else:
        where = torch.ones((1,) * -part.unit_axis, dtype=torch.bool, device=activation.device)
    ahead = activation.ndim + part.unit_axis
    where = where.expand((1,) * ahead + tuple(where.shape))
    if part.positions is None:
        return where
    size = activation.shape[0]
    if ahead > 1:
        raise AddressError(
            f"{part.address!r} names positions, but the activation of {part.point!r} has shape "
            f"{tuple(activation.shape)} per example, with several axes that could be meant; give the module a hook "
            "point of [example, position, unit]."
        )
    if ahead < 1 or not all(-size <= position < size for position in part.positions):
        raise AddressError(
            f"{part.address!r} names positions {', '.join(map(str, part.positions))}, but the activation of "
            f"{part.point!r} has shape {tuple(activation.shape)} per example, with "
            f"{f'{size} positions' if ahead else 'no axis of positions'}."
        )
    at = torch.zeros(size, dtype=torch.bool, device=activation.device)
    at[list(part.positions)] = True
    return where & at.view(-1, *(1,) * (activation.ndim - 1))


def _basis(part: Component, activation: Tensor) -> Tensor:
    basis = part.basis
    if basis is None or basis.shape[-1] != activation.shape[-1]:
        raise SettingError(
            f"the directions of {part.address!r} have {0 if basis is None else basis.shape[-1]} coordinates, but the "
            f"activation of {part.point!r} has shape {tuple(activation.shape)} per example; give one for each unit."
        )
    return basis


def overlap(a: Component, b: Component) -> bool:
    """Says whether two parts have entries of one activation in common; positions count as they are written."""

    def meet(some: tuple[int, ...] | None, others: tuple[int, ...] | None) -> bool:
        return some is None or others is None or bool(set(some) & set(others))

    return a.point == b.point and meet(a.units, b.units) and meet(a.positions, b.positions)
