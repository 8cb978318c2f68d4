"""Langevin dynamics with averaged noise, by Leimkuhler and Matthews."""

from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import SAMPLERS, Evaluate, Evaluated, LangevinSampler, Noise, Posterior
from llc_lightning.sampling.stacked import Stack


@SAMPLERS.register(
    "lm",
    summary="Langevin steps with the mean of two successive noises: no bias of the step size on quadratics",
    source="Leimkuhler and Matthews 2013, Applied Mathematics Research eXpress 2013(1), arXiv:1203.5428",
    full_batch=False,
    needs_centre_gradient=False,
    preconditioned=True,
    adapts=False,
    limited=True,
    bias_known=False,
    noise_known=True,
    order=2,
    fraction=0.6,
)
class LeimkuhlerMatthews(LangevinSampler):
    """Steps ``w' = w - eps/2 (n_beta grad L(w) + gamma (w - w*)) + sqrt(eps) (xi_t + xi_(t+1)) / 2``.

    It costs what SGLD does. On a quadratic its stationary variance is exactly ``1/a`` with the full batch, and ``1/a +
    eps s2 / (4 a (1 - eps a/4))`` with gradient noise of variance ``s2``; in general its bias is of second order in
    ``eps``. Near the limit of stability its tails are heavier than SGLD's.
    """

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        super().__init__(posterior, step_size, preconditioner)
        self._last: Stack = {}

    def step(self, position: Stack, here: Evaluated, evaluate: Evaluate, noise: Noise) -> None:
        """Moves ``position`` in place by one step."""
        last = self._last or {name: xi.clone() for name, xi in noise.normal().items()}
        new = noise.normal()
        # Both are buffers: the mean is made in the old one, which then takes the new noise.
        for name, xi in last.items():
            xi.add_(new[name]).mul_(0.5)
        self._move(position, here.gradient, last)
        self._last = {name: xi.copy_(new[name]) for name, xi in last.items()}
