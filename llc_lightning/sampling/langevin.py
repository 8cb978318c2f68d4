"""The Langevin move, and what the samplers that make it have in common."""

from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import Evaluate, Evaluated, Noise, Posterior, Sampler, per_lane
from llc_lightning.sampling.stacked import Stack


class LangevinMove:
    """The move ``w' = w - eps/2 M (n_beta g + gamma (w - w*)) + sqrt(eps M) xi`` with a constant diagonal ``M``.

    Args:
        posterior: What is sampled.
        step_size: ``eps`` of each lane.
        metric: ``M``, [1 or chain, lane, *slice]; 1 by default.
    """

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], metric: Stack | None) -> None:
        self._centre = posterior.centre
        self._pull: Stack = {}
        self._drift: Stack = {}
        self._spread: Stack = {}
        for name, centre in posterior.centre.items():
            lanes = (1, -1, *(1,) * (centre.ndim - 2))
            eps = step_size.view(lanes) if metric is None else step_size.view(lanes) * metric[name]
            self._pull[name] = (eps * per_lane(posterior.gamma, centre) / 2).to(centre.dtype)
            self._drift[name] = (eps * per_lane(posterior.n_beta, centre) / -2).to(centre.dtype)
            self._spread[name] = eps.sqrt().to(centre.dtype)

    def __call__(self, position: Stack, gradient: Stack, xi: Stack) -> None:
        """Moves ``position`` in place."""
        for name, w in position.items():
            w.lerp_(self._centre[name].expand_as(w), self._pull[name].expand_as(w))
            w.addcmul_(gradient[name], self._drift[name])
            w.addcmul_(xi[name], self._spread[name])

    def batch_noise(self, noise: Stack) -> Stack:
        """Returns what noise in the gradient adds to a move, as a multiple of ``sqrt(eps M)``."""
        return {name: self._drift[name] / self._spread[name] * value for name, value in noise.items()}


class LangevinSampler(Sampler):
    """Makes one :class:`LangevinMove` a step, along the gradient that it looks at."""

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        self._move = LangevinMove(posterior, step_size, preconditioner)

    def step(self, position: Stack, here: Evaluated, evaluate: Evaluate, noise: Noise) -> None:
        """Moves ``position`` in place by one step."""
        self._move(position, here.gradient, noise.normal())

    def batch_noise(self, noise: Stack) -> Stack:
        """Returns what noise in the gradient adds to a move, as a multiple of the noise that belongs there."""
        return self._move.batch_noise(noise)


def langevin_contraction(stiffness: Tensor) -> Tensor:
    """Returns by what a step shrinks the distance in a direction of that step size times curvature."""
    return (1 - stiffness / 2).abs()
