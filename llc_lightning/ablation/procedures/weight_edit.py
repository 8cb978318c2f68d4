"""Constant ablations as edits of the weights: the ablated network is a point in weight space."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llc_lightning.components.component import Component
from llc_lightning.components.hooks import Axes, hook_sites, linear_at
from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.errors import SettingError


def weight_edit(
    module: nn.Module, params: Params, component: Component, constant: Float[Tensor, "unit *feature"] | float
) -> Params:
    """Returns weights under which the network does what it does with a component's units held at a constant.

    What reads the units gets columns of 0, and its bias takes ``W[:, units] a`` (Li and Janson 2024: a constant
    ablation is an edit of the weights): the reader is declared as outgoing, or is the linear map whose input the
    component is. A linear map whose own output the component is gets rows of 0 and the bias a.

    Args:
        module: The module.
        params: The weights to edit; they stay as they are.
        component: Units of one hook point, at all positions.
        constant: The value of every unit (of every feature of a head), the same for all examples and positions.

    Raises:
        SettingError: If the component has no such edit; the message says why.
    """
    if component.parts or component.positions is not None or component.basis is not None:
        raise SettingError(
            f"{component.address!r} is no set of whole units at all positions; such have no weight edit."
        )
    site, linear = hook_sites(module).get(component.point), linear_at(module, component.point)
    if linear is not None:
        edit = _unread if linear.is_input else _held
        return edit(module, params, ((linear.weight, linear.axis),), component, constant)
    if site is None or site.axes is None or not site.axes.outgoing:
        raise SettingError(
            f"nothing tells which weights read {component.address!r}; declare them as outgoing in weight_axes()."
        )
    return _unread(module, params, site.axes.outgoing, component, constant)


def _held(module: nn.Module, params: Params, incoming: Axes, component: Component, constant: Any) -> Params:
    ((weight, axis),) = incoming
    units = _units(component, params[weight].shape[axis])
    edited = {weight: _zeroed(module, params, weight, axis, units)}
    bias = _bias_of(module, weight)
    if bias is None:
        raise SettingError(f"{component.address!r} has no bias that could hold a constant; give its layer one.")
    edited[bias] = params[bias].clone()
    edited[bias][units] = torch.as_tensor(constant).to(edited[bias])
    return {**params, **edited}


def _unread(module: nn.Module, params: Params, outgoing: Axes, component: Component, constant: Any) -> Params:
    edited: Params = {}
    for name, axis in outgoing:
        reader = params[name]
        units = _units(component, reader.shape[axis])
        bias = _bias_of(module, name)
        if bias is None:
            raise SettingError(f"{name!r}, which reads {component.address!r}, has no bias that could take a constant.")
        why = _inexact(module.get_submodule(name.rpartition(".")[0]), constant)
        if why:
            raise SettingError(f"{name!r} reads {component.address!r} {why}; such have no weight edit.")
        rows = reader.movedim(axis, 0)[units]
        # Rows are [unit, output, *kernel], or [unit, feature, output] where units lead, as heads do.
        features = rows.shape[1:-1] if axis == 0 and rows.ndim > 2 else ()
        given = torch.as_tensor(constant, dtype=reader.dtype, device=reader.device).expand(len(units), *features)
        added = cast("Tensor", torch.tensordot(given, rows, dims=given.ndim))  # pyright: ignore[reportUnknownMemberType]
        added = added.flatten(1).sum(1) if added.ndim > 1 else added
        edited[name] = _zeroed(module, params, name, axis, units)
        edited[bias] = edited.get(bias, params[bias]) + added
    return {**params, **edited}


def _inexact(reader: nn.Module, constant: Any) -> str:
    """Returns why what a convolution makes of a constant is not the same everywhere; '' where it is."""
    if isinstance(reader, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return "by a transposed convolution"
    if not isinstance(reader, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return ""
    if reader.groups > 1:
        return "in groups"
    padding = reader.padding
    pads = max(reader.kernel_size) > 1 if padding == "same" else padding != "valid" and any(padding)
    # Other paddings repeat the constant, and zeros around zeros are one.
    zeros = pads and reader.padding_mode == "zeros" and bool(torch.as_tensor(constant).any())
    return "with zeros around it" if zeros else ""


def _units(component: Component, width: int) -> list[int]:
    return list(range(width)) if component.units is None else list(component.units)


def _zeroed(module: nn.Module, params: Params, name: str, axis: int, units: list[int]) -> Tensor:
    """Returns a weight with zeros for some units.

    Raises:
        SettingError: If other modules use the weight too, so that they would change with it.
    """
    parameter = module.get_parameter(name)
    owners = sum(any(own is parameter for own in part.parameters(recurse=False)) for part in module.modules())
    if owners > 1:
        raise SettingError(f"{name!r} is shared by {owners} modules; a shared weight has no edit for one of them.")
    zeroed = params[name].clone()
    zeroed.movedim(axis, 0)[units] = 0
    return zeroed


def _bias_of(module: nn.Module, weight: str) -> str | None:
    """Returns the name of the bias that belongs to a weight: ``weight`` -> ``bias``, ``W_out`` -> ``b_out``."""
    path, _, name = weight.rpartition(".")
    bias = "bias" if name == "weight" else f"b_{name.removeprefix('W_')}"
    full = f"{path}.{bias}" if path else bias
    return full if full in dict(module.named_parameters()) else None
