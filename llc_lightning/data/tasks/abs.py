"""Absolute values of sparse numbers: unlike ReLU, no part of it is linear on average."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.data.tasks.base import TASKS, Inputs, SparseTask, Targets


@TASKS.register(
    "abs",
    summary="n sparse numbers in [-1, 1], each on with probability z/n; the target is the absolute value",
    source="Elhage et al. 2022, arXiv:2209.10652 (Toy Models of Superposition)",
)
@dataclass(frozen=True)
class AbsTask(SparseTask):
    """Circuit ``t`` reads one number ``x[t]``, on with probability ``q = active / size`` and then uniform in [-1, 1].

    The target is even in its input, so the affine map of least squares is a constant, and that is near 0 for sparse
    numbers; a fourth power has a larger best constant.

    One circuit takes 2 ReLUs, ``relu(x) + relu(-x)``, or 1 beside a free linear map, ``2 relu(x) - x``. The dedicated
    baseline is granted the 1.
    """

    tolerance: ClassVar[float] = 0.5
    """An error below it is correct; 0 is on half of the active examples, as a guess is in the xor task."""

    def answer(self, x: Inputs) -> Targets:
        """Returns ``|x|``."""
        return x.abs()

    def trivial_loss(self, power: float) -> float:
        """Returns the mean of ``|x|^power`` over x in [-1, 1], ``1 / (power + 1)``."""
        return 1 / (power + 1)

    def dedicated_weights(self, width: int) -> dict[str, Float[Tensor, "..."]]:
        """Returns ``2 relu(x) - x`` for each of the first ``width`` circuits; neurons left over are 0."""
        circuit = torch.arange(min(width, self.size))
        w_in, w_out = torch.zeros(width, self.n_inputs), torch.zeros(self.n_outputs, width)
        skip = torch.zeros(self.n_outputs, self.n_inputs)
        w_in[circuit, circuit], w_out[circuit, circuit], skip[circuit, circuit] = 1.0, 2.0, -1.0
        return {"W_in": w_in, "W_out": w_out, "W_skip": skip}
