"""Zeroed weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, WeightMethod
from llc_lightning.ablation.engine.weights import Weight


@METHODS.register(
    "weight_zero", summary="sets the component's own weights to 0", source="LeCun et al. 1989, Optimal Brain Damage; "
    "Han et al. 2015, arXiv:1506.02626", also=("prune", "pruning"), constant=True, needs_reference=False,
    needs_partner=False, whole=False, draws=1,
    revision=3,
)  # fmt: skip
@dataclass(frozen=True)
class WeightZero(WeightMethod):
    """Sets the component's own weights to 0, biases included: the part is pruned.

    Of a unit these are what makes it and what reads it, of a layer what makes it. With all of them at 0 a unit says
    nothing; a unit of which nothing tells who reads it is then its nonlinearity at 0.
    """

    def edited(self, weights: Sequence[Weight], *, seed: int, draw: int) -> Sequence[Tensor]:
        """Returns zeros."""
        return [torch.zeros_like(weight.values) for weight in weights]
