"""Stochastic gradient Langevin dynamics."""

from llc_lightning.sampling.base import SAMPLERS, LangevinSampler


@SAMPLERS.register(
    "sgld",
    summary="Langevin steps along the minibatch gradient; biased at a finite step size",
    source="Welling and Teh 2011; localised as in Lau et al. 2023, arXiv:2308.12108",
    full_batch=False,
    needs_centre_gradient=False,
    preconditioned=True,
    adapts=False,
    limited=True,
    bias_known=True,
    noise_known=True,
    order=1,
    fraction=0.2,
)
class SGLD(LangevinSampler):
    """Steps ``w' = w - eps/2 (n_beta grad L(w) + gamma (w - w*)) + sqrt(eps) xi`` with standard normal ``xi``.

    A preconditioner ``M`` replaces ``eps`` by ``eps M``; being constant it leaves the target unchanged. Equals
    devinterp's ``SGMCMC.sgld`` step for step under the same noise. On a quadratic with curvature ``a = n_beta h +
    gamma`` the stationary variance is ``(1 + eps s2/4) / (a (1 - eps a/4))``, with ``s2`` the variance of the scaled
    gradient noise.
    """
