"""All products of two of m ternary inputs: every input takes part in many circuits."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from llc_lightning.data.tasks.base import TASKS, Examples, ProductTask


@TASKS.register(
    "uprod",
    summary="m inputs of -1, 0 and 1; the targets are the products of all m (m - 1) / 2 pairs (signed universal AND)",
    source="Hänni et al. 2024, arXiv:2408.05451 (universal AND), with signs, since AND alone is linearly separable",
)
@dataclass(frozen=True)
class UprodTask(ProductTask):
    """The circuits are the pairs of ``size`` inputs in lexicographic order: (0, 1), (0, 2), ..., (1, 2), ...

    Every input is on with probability ``sqrt(q)``, independently, and then -1 or 1; so ``q = active / n_circuits`` is
    the probability that a pair is on. Circuits that share an input are not active independently of each other. Turning
    the sign of an input turns its targets, so by symmetry the best affine map under any convex loss is 0, with a loss
    of 1.

    One circuit takes 4 ReLUs, or 2 beside a free linear map, as in the xor task; its formula also answers 0 where one
    of the two inputs is off.
    """

    smallest_size: ClassVar[int] = 2

    @property
    def n_inputs(self) -> int:
        """The number of inputs, ``size``."""
        return self.size

    @property
    def n_circuits(self) -> int:
        """The number of pairs of inputs."""
        return self.size * (self.size - 1) // 2

    def pairs(self) -> Int64[Tensor, "2 circuit"]:
        """Returns the two inputs of every circuit."""
        return torch.triu_indices(self.size, self.size, offset=1)

    def sample(self, n: int, generator: torch.Generator) -> Examples:
        """Draws ``n`` examples of -1, 0 and 1, as int8."""
        uniform = torch.rand(n, self.size, generator=generator)
        p = self.q**0.5
        # Below p an input is on, and the half of p that it falls into gives its sign.
        x = (uniform < p).to(torch.int8) - 2 * (uniform < p / 2).to(torch.int8)
        first, second = self.pairs()
        return x, x[:, first] * x[:, second]
