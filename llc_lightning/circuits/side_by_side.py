"""Heads that stand side by side along the features, and their parts of the linear maps from and to them."""

from __future__ import annotations

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from llc_lightning.circuits.wiring.base import UnitMap
from llc_lightning.components.component import Component


def head_at(address: str, point: str, at: int, size: int) -> Component:
    """Returns the features of a head, the ``at``-th group of ``size`` at a hook point, under an address."""
    return Component(address, "head", point, tuple(range(at * size, (at + 1) * size)))


def map_to(path: str, part: nn.Module, size: int, *, transposed: bool = False) -> UnitMap:
    """Returns the map of a linear layer whose outputs are heads of ``size`` features each.

    Args:
        path: The layer's.
        part: The layer, which has ``weight`` [output, input] and perhaps ``bias``.
        size: Features of a head.
        transposed: Whether its weight is [input, output].
    """
    bias = partial(_added, size=size) if "bias" in dict(part.named_parameters()) else None
    return UnitMap(f"{path}.weight", partial(_read, size=size, transposed=transposed), f"{path}.bias", bias)


def map_from(path: str, size: int, *, transposed: bool = False) -> UnitMap:
    """Returns the map of a linear layer whose inputs are such heads, without its bias, which is of none of them."""
    return UnitMap(f"{path}.weight", partial(_written, size=size, transposed=transposed))


def _read(weight: Tensor, *, size: int, transposed: bool) -> Float[Tensor, "head input size"]:
    weight = weight if transposed else weight.T
    return weight.reshape(len(weight), -1, size).transpose(0, 1)


def _written(weight: Tensor, *, size: int, transposed: bool) -> Float[Tensor, "head size output"]:
    weight = weight if transposed else weight.T
    return weight.reshape(-1, size, weight.shape[1])


def _added(bias: Tensor, *, size: int) -> Float[Tensor, "head size"]:
    return bias.view(-1, size)
