"""The negative control: sparse numbers through a ReLU, which needs hardly any computation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.data.tasks.base import TASKS, CISTask, Examples, Inputs, Outputs, Targets


@TASKS.register(
    "relu",
    summary="n sparse numbers in [-1, 1], each on with probability z/n; the target is ReLU(x): the negative control",
    source="Braun et al. 2025, arXiv:2501.14926; without its noise in the labels, which arXiv:2606.14673 finds to be "
    "what the trained net gains from",
)
@dataclass(frozen=True)
class ReluTask(CISTask):
    """Circuit ``t`` reads one number ``x[t]``, on with probability ``q = active / size`` and then uniform in [-1, 1].

    Under a squared error, computing half of the circuits and ignoring the others (``width = size / 2``) is no better
    than the affine map ``x / 2``: both lose 1/12, and a trained net only ties with them. It must not be said to compute
    in superposition.
    """

    accuracy: ClassVar[str] = "accuracy"
    relus_per_circuit: ClassVar[int] = 1
    tolerance: ClassVar[float] = 0.25
    """An error below it is correct; ``x / 2`` is on half of the active examples, 0 on five in eight."""

    @property
    def n_inputs(self) -> int:
        """The number of inputs, one for each circuit."""
        return self.size

    def sample(self, n: int, generator: torch.Generator) -> Examples:
        """Draws ``n`` examples, as float32."""
        x = sparse_uniform(n, self.size, self.q, generator)
        return x, x.relu()

    def is_active(self, x: Inputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where a number is on, also where its target is 0."""
        return x != 0

    def is_correct(self, outputs: Outputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where the error is below :attr:`tolerance`."""
        return (outputs - y).abs() < self.tolerance

    def trivial_loss(self, power: float) -> float:
        """Returns the mean of ``relu(x)^power`` over x in [-1, 1], ``1 / (2 (power + 1))``."""
        return 1 / (2 * (power + 1))

    def dedicated_weights(self, width: int) -> dict[str, Float[Tensor, "..."]]:
        """Returns one neuron for each of the first ``width`` circuits; neurons left over are 0."""
        circuit = torch.arange(min(width, self.size))
        w_in, w_out = torch.zeros(width, self.n_inputs), torch.zeros(self.n_outputs, width)
        w_in[circuit, circuit] = w_out[circuit, circuit] = 1.0
        return {"W_in": w_in, "W_out": w_out, "W_skip": torch.zeros(self.n_outputs, self.n_inputs)}


def sparse_uniform(n: int, size: int, q: float, generator: torch.Generator) -> Float[Tensor, "example input"]:
    """Draws numbers that are 0, or with probability ``q`` uniform in [-1, 1]."""
    uniform = torch.rand(n, size, generator=generator)
    # Below q a number is on, and its place below q gives its value.
    return torch.where(uniform < q, uniform * (2 / q) - 1, 0.0)
