"""Langevin dynamics preconditioned by the size of the gradients."""

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import SAMPLERS, Evaluate, Evaluated, LangevinMove, LangevinSampler, Noise, Posterior
from llc_lightning.sampling.stacked import Stack

DECAY = 0.99
STABILITY = 0.1


@SAMPLERS.register(
    "rmsprop_sgld",
    summary="SGLD in a diagonal metric from running squares of the gradient, found in burn-in and then kept",
    source="Li et al. 2016, arXiv:1512.07666",
    full_batch=False,
    needs_centre_gradient=False,
    preconditioned=False,
    adapts=True,
    limited=False,
    bias_known=False,
    noise_known=True,
    order=1,
    fraction=0.2,
)
class RMSpropSGLD(LangevinSampler):
    """SGLD with ``eps M``, ``M = 1 / (0.1 + sqrt V)`` and ``V' = 0.99 V + 0.01 (grad L)^2``, for every chain by itself.

    Until burn-in ends it equals devinterp's ``SGMCMC.rmsprop_sgld`` step for step under the same noise. Deviation: then
    ``M`` stays as it is. A metric that goes on changing with the position changes the target, by a term that Li et al.
    drop; a constant one does not. Without burn-in there is no metric but 10.
    """

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        self._posterior = posterior
        self._step_size = step_size
        self._squares = {name: torch.zeros_like(centre) for name, centre in posterior.centre.items()}
        self._settled = False
        super().__init__(posterior, step_size, self.metric)

    @property
    def metric(self) -> Stack:
        """``M``."""
        return {name: 1 / (STABILITY + square.sqrt()) for name, square in self._squares.items()}

    def settle(self) -> None:
        """Keeps the metric from now on."""
        self._settled = True

    def step(self, position: Stack, here: Evaluated, evaluate: Evaluate, noise: Noise) -> None:
        """Moves ``position`` in place by one step."""
        if not self._settled:
            self._squares = {
                name: DECAY * square + (1 - DECAY) * here.gradient[name].square()
                for name, square in self._squares.items()
            }
            self._move = LangevinMove(self._posterior, self._step_size, self.metric)
        super().step(position, here, evaluate, noise)
