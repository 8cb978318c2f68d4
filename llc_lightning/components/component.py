"""A component: one address with an activation side and a weight side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.errors import AddressError, unknown


@dataclass(frozen=True)
class WeightSlice:
    """The entries ``index`` of a parameter along ``axis``; the whole parameter where ``index`` is None."""

    parameter: str
    axis: int = 0
    index: tuple[int, ...] | None = None
    reads: bool = False
    """Whether these weights read what the component says, and do not make it."""


@dataclass(frozen=True)
class Component:
    """A part of a network: where its activation is read or replaced, and which weights make it.

    Example:
        >>> neuron = Component("net.hook[1]", "neuron", "net.hook", (1,), weights=(WeightSlice("net.W", 0, (1,)),))
        >>> neuron.unit_mask(torch.zeros(3))
        tensor([False,  True, False])
        >>> neuron.moved({"net.W": torch.zeros(3, 2)})["net.W"]
        tensor([[False, False],
                [ True,  True],
                [False, False]])
    """

    address: str
    """What names it in tables."""
    kind: str
    """A name of ``runtime.kinds.KINDS``, such as ``all``, ``layer``, ``neuron`` or ``set``; or a module's own word."""
    point: str = ""
    """The hook point; '' for a part with weights alone (the whole model, a parameter)."""
    units: tuple[int, ...] | None = None
    """Units of the hook point; None for all of them."""
    unit_axis: int = -1
    """Axis of the units in the activation, counted from the end; 0 for the first behind that of the examples."""
    weights: tuple[WeightSlice, ...] = ()
    """What makes it; nothing for a part with an activation alone."""
    positions: tuple[int, ...] | None = None
    """Positions of a sequence, negative ones from its end; None for all of them."""
    basis: Float[Tensor, "direction unit"] | None = field(default=None, compare=False, repr=False)
    """Orthonormal directions in the space of the units, where only these are replaced; None for whole units."""
    parts: tuple[Component, ...] = ()
    """What it consists of, where that is at several hook points; ``point`` is then that of the first."""
    most_axes: int | None = field(default=None, compare=False, repr=False)
    """Where nobody tells the axis of the units: axes that an example's activation may have for it to be the last."""

    @property
    def members(self) -> tuple[Component, ...]:
        """Its parts, or itself where it is at one hook point."""
        return self.parts or (self,)

    def unit_mask(self, activation: Tensor) -> Bool[Tensor, "..."]:
        """Returns which entries of one example's activation belong to the component, to broadcast against it.

        Raises:
            IndexError: If the activation has no such axis or units.
        """
        axis = self.axis_in(activation)
        width = activation.shape[axis]
        mask = torch.zeros(width, dtype=torch.bool, device=activation.device)
        mask[slice(None) if self.units is None else list(self.units)] = True
        return mask.view(width, *(1,) * (-1 - axis))

    def axis_in(self, activation: Tensor) -> int:
        """Returns the axis of the units in one example's activation, counted from the end."""
        return self.unit_axis if self.unit_axis < 0 else self.unit_axis - activation.ndim

    def moved(self, params: Params) -> dict[str, Bool[Tensor, "..."]]:
        """Returns the weight side as masks: parameter name -> which of its entries are the component's.

        Raises:
            AddressError: If the parameters are not those of the component's module.
        """
        masks: dict[str, Tensor] = {}
        for part in self.weights:
            if part.parameter not in params:
                raise AddressError(f"{self.address!r} moves an {unknown('parameter', part.parameter, params)}")
            like = params[part.parameter]
            mask = masks.setdefault(part.parameter, torch.zeros_like(like, dtype=torch.bool))
            if part.index is None:
                mask.fill_(True)
            else:
                mask.index_fill_(part.axis, torch.tensor(part.index, device=like.device), True)
        return masks


def parameters_of(components: Iterable[Component]) -> set[str]:
    """Returns the names of the parameters that the weight sides of some components are parts of.

    Example:
        >>> parameters_of([Component("a", "layer", weights=(WeightSlice("W"), WeightSlice("b")))]) == {"W", "b"}
        True
    """
    return {part.parameter for component in components for part in component.weights}
