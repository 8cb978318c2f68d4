"""Products of two signs, many circuits side by side: no affine map does better than 0."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.data.tasks.base import TASKS, CISTask, Examples, Inputs, Outputs, Targets


@TASKS.register(
    "xor",
    summary="T disjoint pairs of signs, each pair on with probability z/T; the target is the pair's product",
    source="sparsely active circuits: Bushnaq and Mendel 2024, Circuits in Superposition (LessWrong)",
)
@dataclass(frozen=True)
class XorTask(CISTask):
    """Circuit ``t`` reads the inputs ``a = x[2t]`` and ``b = x[2t+1]`` and answers ``a b``.

    Both are off (0) or, with probability ``q = active / size``, both on, with independent uniform signs. Turning the
    sign of ``a`` turns the target, so by symmetry the best affine map under any convex loss is 0, with a loss of 1.

    One circuit takes 4 ReLUs, 3 with biases, or 2 beside a free linear map: ``a b = relu(a + b) - relu(a - b) - b``.
    The dedicated baseline is granted the 2, so that its loss is ``1 - width / (2 size)`` for every power.
    """

    relus_per_circuit: ClassVar[int] = 2

    @property
    def n_inputs(self) -> int:
        """The number of inputs, two for each circuit."""
        return 2 * self.size

    def sample(self, n: int, generator: torch.Generator) -> Examples:
        """Draws ``n`` examples of -1, 0 and 1, as int8."""
        uniform = torch.rand(n, self.size, generator=generator)
        # One number decides all: below q the pair is on, and the quarter of q that it falls into gives both signs.
        on = (uniform < self.q).to(torch.int8)
        quarter = (uniform * (4 / self.q)).to(torch.int32)
        a = (1 - (quarter & 1) * 2).to(torch.int8) * on
        b = (1 - (quarter & 2)).to(torch.int8) * on
        return torch.stack((a, b), dim=-1).flatten(1), a * b

    def is_active(self, x: Inputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where a pair is on."""
        return y != 0

    def is_correct(self, outputs: Outputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where the sign is right; 0 has none."""
        return outputs * y > 0

    def trivial_loss(self, power: float) -> float:
        """Returns 1: the targets of active circuits are 1 in absolute value."""
        return 1.0

    def dedicated_weights(self, width: int) -> dict[str, Float[Tensor, "..."]]:
        """Returns ``relu(a + b) - relu(a - b) - b`` for ``width // 2`` circuits; a neuron left over is 0."""
        circuit = torch.arange(min(width // 2, self.size))
        a, b = first, second = 2 * circuit, 2 * circuit + 1
        w_in, w_out = torch.zeros(width, self.n_inputs), torch.zeros(self.n_outputs, width)
        skip = torch.zeros(self.n_outputs, self.n_inputs)
        w_in[first, a] = w_in[first, b] = w_in[second, a] = w_out[circuit, first] = 1.0
        w_in[second, b] = w_out[circuit, second] = skip[circuit, b] = -1.0
        return {"W_in": w_in, "W_out": w_out, "W_skip": skip}
