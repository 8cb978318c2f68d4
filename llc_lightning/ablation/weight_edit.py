"""Constant ablations as edits of the weights: the ablated network is a point in weight space."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llc_lightning.components.component import Component
from llc_lightning.components.hooks import Axes, hook_sites
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.types import Params


def weight_edit(
    module: nn.Module, params: Params, component: Component, constant: Float[Tensor, "unit *feature"] | float
) -> Params:
    """Returns weights under which the network does what it does with a component's units held at a constant.

    Where a hook point declares what reads it, the reader's columns become 0 and its bias takes ``W[:, units] a``
    (Li and Janson 2024: a constant ablation is an edit of the weights); a Linear or Conv at whose own output the
    component lies gets rows of 0 and the bias a.

    Args:
        module: The module.
        params: The weights to edit; they stay as they are.
        component: Units of one hook point, at all positions.
        constant: The value of every unit (of every feature of a head), the same for all examples and positions.

    Raises:
        SettingError: If the component has no such edit; the message says why.
    """
    site = hook_sites(module).get(component.point)
    if component.parts or component.positions is not None or component.basis is not None:
        raise SettingError(
            f"{component.address!r} is no set of whole units at all positions; such have no weight edit."
        )
    if site is None or site.axes is None:
        raise SettingError(
            f"nothing tells which weights read {component.address!r}; declare them as outgoing in weight_axes()."
        )
    units = list(range(site.width or 0)) if component.units is None else list(component.units)
    if site.axes.unit == "neuron_in":
        return _held(params, site.axes.incoming, site.axes.bias, units, constant, component)
    return _unread(module, params, site.axes.outgoing, units, constant, component)


def _held(params: Params, incoming: Axes, bias: Axes, units: list[int], constant: Any, component: Component) -> Params:
    ((weight, _),) = incoming
    if not bias:
        raise SettingError(f"{component.address!r} has no bias that could hold a constant; give its layer one.")
    edited = {weight: params[weight].clone(), bias[0][0]: params[bias[0][0]].clone()}
    edited[weight][units] = 0
    edited[bias[0][0]][units] = torch.as_tensor(constant).to(edited[weight])
    return {**params, **edited}


def _unread(
    module: nn.Module, params: Params, outgoing: Axes, units: list[int], constant: Any, component: Component
) -> Params:
    if not outgoing:
        raise SettingError(
            f"nothing tells which weights read {component.address!r}; declare them as outgoing in weight_axes()."
        )
    edited: Params = {}
    for name, axis in outgoing:
        reader = params[name]
        bias = _bias_of(module, name)
        if bias is None:
            raise SettingError(f"{name!r}, which reads {component.address!r}, has no bias that could take a constant.")
        part = module.get_submodule(name.rpartition(".")[0])
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.padding not in (0, (0,), (0, 0), (0, 0, 0)):
            raise SettingError(f"{name!r} reads {component.address!r} with zeros around it; such have no weight edit.")
        rows = reader.movedim(axis, 0)[units]
        # Rows are [unit, output, *kernel], or [unit, feature, output] where units lead, as heads do.
        features = rows.shape[1:-1] if axis == 0 and rows.ndim > 2 else ()
        given = torch.as_tensor(constant, dtype=reader.dtype, device=reader.device).expand(len(units), *features)
        added = cast("Tensor", torch.tensordot(given, rows, dims=given.ndim))  # pyright: ignore[reportUnknownMemberType]
        added = added.flatten(1).sum(1) if added.ndim > 1 else added
        zeroed = reader.clone()
        zeroed.movedim(axis, 0)[units] = 0
        edited[name] = zeroed
        edited[bias] = edited.get(bias, params[bias]) + added
    return {**params, **edited}


def _bias_of(module: nn.Module, weight: str) -> str | None:
    """Returns the name of the bias that belongs to a weight: ``weight`` -> ``bias``, ``W_out`` -> ``b_out``."""
    path, _, name = weight.rpartition(".")
    bias = "bias" if name == "weight" else f"b_{name.removeprefix('W_')}"
    full = f"{path}.{bias}" if path else bias
    return full if full in dict(module.named_parameters()) else None
