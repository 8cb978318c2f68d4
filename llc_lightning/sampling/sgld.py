"""Stochastic gradient Langevin dynamics."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import SAMPLERS, Posterior, Sampler
from llc_lightning.sampling.stacked import Stack


@SAMPLERS.register(
    "sgld",
    summary="Langevin steps along the minibatch gradient; biased at a finite step size",
    source="Welling and Teh 2011; localised as in Lau et al. 2023, arXiv:2308.12108",
)
class SGLD(Sampler):
    """Steps ``w' = w - eps/2 (n_beta grad L(w) + gamma (w - w*)) + sqrt(eps) xi`` with standard normal ``xi``.

    A preconditioner ``M`` replaces ``eps`` by ``eps M``; being constant it leaves the target unchanged. Equals
    devinterp's ``SGMCMC.sgld`` step for step under the same noise. On a quadratic with curvature ``a = n_beta h +
    gamma`` the stationary variance is ``(1 + eps s2/4) / (a (1 - eps a/4))``, with ``s2`` the variance of the scaled
    gradient noise.
    """

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        self._centre = posterior.centre
        self._pull: Stack = {}
        self._drift: Stack = {}
        self._spread: Stack = {}
        for name, centre in posterior.centre.items():
            lanes = (1, -1, *(1,) * (centre.ndim - 2))
            eps = step_size.view(lanes) if preconditioner is None else step_size.view(lanes) * preconditioner[name]
            self._pull[name] = (eps * posterior.gamma.view(lanes) / 2).to(centre.dtype)
            self._drift[name] = (eps * posterior.n_beta.view(lanes) / -2).to(centre.dtype)
            self._spread[name] = eps.sqrt().to(centre.dtype)

    def step(self, position: Stack, gradient: Stack, noise: Callable[[], Stack]) -> None:
        """Moves ``position`` in place by one step."""
        xi = noise()
        for name, w in position.items():
            w.lerp_(self._centre[name].expand_as(w), self._pull[name].expand_as(w))
            w.addcmul_(gradient[name], self._drift[name])
            w.addcmul_(xi[name], self._spread[name])
