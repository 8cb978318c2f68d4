"""Products of two signs, many circuits side by side: no affine map does better than 0."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from llc_lightning.data.tasks.base import TASKS, Examples, ProductTask


@TASKS.register(
    "xor",
    summary="T disjoint pairs of signs, each pair on with probability z/T; the target is the pair's product",
    source="sparsely active circuits: Bushnaq and Mendel 2024, Circuits in Superposition (LessWrong)",
)
@dataclass(frozen=True)
class XorTask(ProductTask):
    """Circuit ``t`` reads the inputs ``a = x[2t]`` and ``b = x[2t+1]`` and answers ``a b``.

    Both are off (0) or, with probability ``q = active / size``, both on, with independent uniform signs. Turning the
    sign of ``a`` turns the target, so by symmetry the best affine map under any convex loss is 0, with a loss of 1.

    One circuit takes 4 ReLUs, 3 with biases, or 2 beside a free linear map: ``a b = relu(a + b) - relu(a - b) - b``.
    The dedicated baseline is granted the 2, so that its loss is ``1 - width / (2 size)`` for every power.
    """

    @property
    def n_inputs(self) -> int:
        """The number of inputs, two for each circuit."""
        return 2 * self.size

    def pairs(self) -> Int64[Tensor, "2 circuit"]:
        """Returns the two inputs of every circuit, which are neighbours."""
        return torch.arange(self.n_inputs).view(-1, 2).T

    def sample(self, n: int, generator: torch.Generator) -> Examples:
        """Draws ``n`` examples of -1, 0 and 1, as int8."""
        uniform = torch.rand(n, self.size, generator=generator)
        # One number decides all: below q the pair is on, and the quarter of q that it falls into gives both signs.
        on = (uniform < self.q).to(torch.int8)
        quarter = (uniform * (4 / self.q)).to(torch.int32)
        a = (1 - (quarter & 1) * 2).to(torch.int8) * on
        b = (1 - (quarter & 2)).to(torch.int8) * on
        return torch.stack((a, b), dim=-1).flatten(1), a * b
