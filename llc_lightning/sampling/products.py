"""Inner products of stacks, of every chain and lane by itself."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.stacked import Stack

_LONG = 4096
"""Numbers of a vector from which on its inner products are taken one by one."""


def inner(left: Stack, right: Stack) -> Float[Tensor, "chain lane"]:
    """Returns the inner product over all parameters of ``left``."""
    return total(products(value, right[name]) for name, value in left.items())


def products(left: Tensor, right: Tensor) -> Float[Tensor, "chain lane"]:
    """Returns the inner product over one parameter, [chain, lane, *slice]."""
    left, right = left.flatten(2), right.flatten(2)
    if left.shape[2] < _LONG or left.device.type != "cpu":
        return (left * right).sum(2)
    # Torch sums no product without writing it down first, except for two vectors.
    rows = zip(left.flatten(0, 1), right.flatten(0, 1), strict=True)
    return torch.stack([torch.dot(*row) for row in rows]).view(left.shape[:2])


def total(parts: Iterable[Tensor]) -> Float[Tensor, "chain lane"]:
    """Returns the sum of what the parameters contribute."""
    return torch.stack(list(parts)).sum(0)
