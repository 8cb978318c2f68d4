"""The stochastic gradient Nosé-Hoover thermostat."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import SAMPLERS, Evaluate, Evaluated, Noise, Posterior, Sampler, per_lane
from llc_lightning.sampling.stacked import Stack

FRICTION = 0.1
"""Per step: the thermostat starts here, and the noise is what this friction needs at temperature 1."""

COUPLING = 0.01
"""How much of an excess of temperature the friction per step takes up in a step; free of the weights' unit."""


@SAMPLERS.register(
    "sgnht",
    summary="Langevin dynamics with momentum, whose friction adapts so that gradient noise does not heat it",
    source="Ding et al. 2014 (NeurIPS 27); the order of the parts: Leimkuhler and Shang 2016, arXiv:1505.06889",
    full_batch=False,
    needs_centre_gradient=False,
    preconditioned=True,
    adapts=False,
    limited=False,
    bias_known=False,
    noise_known=False,
    order=1,
    fraction=0.4,
    step_fraction=0.4,
)
class SGNHT(Sampler):
    """Momentum ``p``, friction ``xi`` and noise of one step of length ``h = sqrt(eps / 2)``, split symmetrically.

    ``p -= h grad U``; then ``w += h/2 p``; ``xi += (|p|^2 / d - 1) / (200 h)``; the exact solution of ``dp = -xi p dt
    + sqrt(2 A) dB`` over ``h``; and the two before in reverse. From rest the first drift is about SGLD's, ``-eps/2 grad
    U``, and one gradient is evaluated a step. On a quadratic it is stable for ``eps a < 8``, and its bias is of first
    order in ``eps``. A preconditioner ``M`` is the inverse of the masses. Deviations from Ding et al.: the splitting,
    whose bias is smaller than that of their Euler steps, of order ``sqrt eps``; and the noise ``A`` is 0.1 / h and the
    thermostat's mass a multiple of h^2, so that neither depends on the unit of the weights.
    """

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        self._posterior = posterior
        self._h = (step_size / 2).sqrt()
        roots = {name: value.sqrt() for name, value in preconditioner.items()} if preconditioner else {}
        length = {
            name: per_lane(self._h, centre) * roots.get(name, torch.ones_like(centre))
            for name, centre in posterior.centre.items()
        }
        self._half = {name: value / 2 for name, value in length.items()}
        self._push = {name: -value * per_lane(posterior.n_beta, value) for name, value in length.items()}
        self._pull = {name: value * per_lane(posterior.gamma, value) for name, value in length.items()}
        self._dimension = sum(math.prod(centre.shape[2:]) for centre in posterior.centre.values())
        self._momentum: Stack = {}
        self._friction = FRICTION / self._h[None]

    def step(self, position: Stack, here: Evaluated, evaluate: Evaluate, noise: Noise) -> None:
        """Moves ``position`` in place by one step."""
        if not self._momentum:
            self._momentum = {name: xi.expand_as(position[name]).clone() for name, xi in noise.normal().items()}
        for name, p in self._momentum.items():
            p.addcmul_(here.gradient[name], self._push[name])
            p.addcmul_(self._posterior.centre[name] - position[name], self._pull[name])
        self._drift(position)
        self._heat()
        decay = torch.exp(-self._friction * self._h)
        # The variance that the noise A adds in h: A (1 - exp(-2 xi h)) / xi, which at xi = 0 is 2 A h.
        twice = 2 * self._friction * self._h
        share = torch.where(twice.abs() > 1e-6, -torch.expm1(-twice) / twice, 1.0)
        spread = (2 * FRICTION * share).sqrt()
        xi = noise.normal()
        for name, p in self._momentum.items():
            p.mul_(_like(decay, p)).add_(_like(spread, p) * xi[name])
        self._heat()
        self._drift(position)

    @staticmethod
    def contraction(stiffness: Tensor) -> Tensor:
        """Returns by what a step shrinks a distance, as a function of step size times curvature."""
        # A damped oscillator of frequency h sqrt(a) and friction 0.1 per step: stiff directions lose half of the
        # friction in a step, slow ones h^2 a / 0.1.
        rate = FRICTION / 2 - (FRICTION**2 / 4 - stiffness / 2).clamp(min=0).sqrt()
        return torch.exp(-rate)

    def batch_noise(self, noise: Stack) -> None:
        """Returns None: its friction takes the noise off by itself."""
        return

    def _drift(self, position: Stack) -> None:
        for name, w in position.items():
            w.addcmul_(self._half[name], self._momentum[name])

    def _heat(self) -> None:
        """Moves the friction by half a step: up where the momenta are hotter than 1."""
        energy = torch.stack([p.double().square().flatten(2).sum(2) for p in self._momentum.values()]).sum(0)
        self._friction = self._friction + COUPLING / (2 * self._h) * (energy / self._dimension - 1).to(self._h.dtype)


def _like(value: Float[Tensor, "chain lane"], like: Tensor) -> Tensor:
    return value.view(*value.shape, *(1,) * (like.ndim - 2)).to(like.dtype)
