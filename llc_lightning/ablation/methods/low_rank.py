"""Weights of low rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, WeightMethod
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.runtime.errors import SettingError


@METHODS.register(
    "low_rank", summary="replaces the component's weight matrices by their best approximations of low rank",
    source="Eckart and Young 1936, Psychometrika 1; Sharma et al. 2023, arXiv:2312.13558", also=("svd", "laser"),
    constant=True, needs_reference=False, needs_partner=False, whole=False, draws=1,
    revision=3,
)  # fmt: skip
@dataclass(frozen=True)
class LowRank(WeightMethod):
    """Replaces each weight matrix W by the nearest of rank r, ``sum_(i <= r) s_i u_i v_i^T`` of its SVD.

    It is the nearest in the Frobenius and the spectral norm. Of a component's entries of a parameter, a kernel
    [output, input, *space] is the matrix [output, input * space], a stack of matrices such as those of heads [head,
    d_model, d_head] is approximated matrix by matrix; biases and other vectors stay. What has no higher rank is its own
    best approximation and stays as it is: the effect on a neuron, all of whose weights are vectors, is exactly 0.
    """

    rank: int = 1
    """The rank that is left; at least 1."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.rank < 1:
            raise SettingError(f"rank is {self.rank}; leave at least rank 1, or use the method 'weight_zero'.")

    def edited(self, weights: Sequence[Weight], *, seed: int, draw: int) -> Sequence[Tensor]:
        """Returns the approximations."""
        return [self._nearest(weight) for weight in weights]

    def _nearest(self, weight: Weight) -> Tensor:
        # What is not finite has no SVD: it stays, and the effect says so.
        if weight.form is None or weight.rank <= self.rank or not bool(weight.values.isfinite().all()):
            return weight.values
        linalg: Any = torch.linalg  # its functions carry no types
        u, s, v = linalg.svd(weight.values.reshape(weight.form).double(), full_matrices=False)
        nearest = (u[..., : self.rank] * s[..., None, : self.rank]) @ v[..., : self.rank, :]
        return nearest.reshape(weight.values.shape).to(weight.values.dtype)
