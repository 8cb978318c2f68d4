"""The negative control: sparse numbers through a ReLU, which needs hardly any computation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.data.tasks.base import TASKS, Inputs, SparseTask, Targets


@TASKS.register(
    "relu",
    summary="n sparse numbers in [-1, 1], each on with probability z/n; the target is ReLU(x): the negative control",
    source="Braun et al. 2025, arXiv:2501.14926; without its noise in the labels, which arXiv:2606.14673 finds to be "
    "what the trained net gains from",
)
@dataclass(frozen=True)
class ReluTask(SparseTask):
    """Circuit ``t`` reads one number ``x[t]``, on with probability ``q = active / size`` and then uniform in [-1, 1].

    Under a squared error, computing half of the circuits and ignoring the others (``width = size / 2``) is no better
    than the affine map ``x / 2``: both lose 1/12, and a trained net only ties with them. It must not be said to compute
    in superposition.
    """

    tolerance: ClassVar[float] = 0.25
    """An error below it is correct; ``x / 2`` is on half of the active examples, 0 on five in eight."""

    def answer(self, x: Inputs) -> Targets:
        """Returns ``relu(x)``."""
        return x.relu()

    def trivial_loss(self, power: float) -> float:
        """Returns the mean of ``relu(x)^power`` over x in [-1, 1], ``1 / (2 (power + 1))``."""
        return 1 / (2 * (power + 1))

    def dedicated_weights(self, width: int) -> dict[str, Float[Tensor, "..."]]:
        """Returns one neuron for each of the first ``width`` circuits; neurons left over are 0."""
        circuit = torch.arange(min(width, self.size))
        w_in, w_out = torch.zeros(width, self.n_inputs), torch.zeros(self.n_outputs, width)
        w_in[circuit, circuit] = w_out[circuit, circuit] = 1.0
        return {"W_in": w_in, "W_out": w_out, "W_skip": torch.zeros(self.n_outputs, self.n_inputs)}
