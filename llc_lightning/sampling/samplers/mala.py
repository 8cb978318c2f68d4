"""The Metropolis-adjusted Langevin algorithm."""

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import SAMPLERS, Evaluate, Evaluated, LangevinMove, Noise, Posterior, Sampler, per_lane
from llc_lightning.sampling.stacked import Stack


@SAMPLERS.register(
    "mala",
    summary="SGLD proposals with the full batch, accepted or rejected so that there is no bias at any step size",
    source="Roberts and Tweedie 1996, Bernoulli 2(4)",
    full_batch=True,
    needs_centre_gradient=False,
    preconditioned=True,
    adapts=False,
    limited=False,
    bias_known=False,
    noise_known=False,
    order=0,
    fraction=0.6,
    step_fraction=0.4,
    revision=2,
)
class MALA(Sampler):
    """Proposes SGLD's step and accepts it with ``min(1, p(w') q(w | w') / (p(w) q(w' | w)))``, chain by chain.

    Exact at any step size: the gold standard where the full batch is affordable. It evaluates one gradient a step. The
    energies are compared in float64, but the losses are those of the network's own precision.
    """

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        self._posterior = posterior
        self._eps = {
            name: per_lane(step_size, centre) * (1 if preconditioner is None else preconditioner[name])
            for name, centre in posterior.centre.items()
        }
        self._move = LangevinMove(posterior, step_size, preconditioner)
        self._here: Evaluated | None = None
        self._accepted = torch.zeros(())
        self._steps = 0

    @property
    def acceptance(self) -> Float[Tensor, "chain lane"] | None:
        """The share of accepted proposals so far."""
        return self._accepted / self._steps if self._steps else None

    def look(self, position: Stack, evaluate: Evaluate) -> Evaluated:
        """Returns the loss and the gradient; known since the last step was accepted or rejected."""
        return evaluate(position) if self._here is None else self._here

    def step(self, position: Stack, here: Evaluated, evaluate: Evaluate, noise: Noise) -> None:
        """Moves the chains whose proposals are accepted."""
        proposal = {name: w.clone() for name, w in position.items()}
        self._move(proposal, here.gradient, noise.normal())
        there = evaluate(proposal)
        accept = noise.uniform().log() < self._log_ratio(position, here, proposal, there)
        for name, w in position.items():
            w.copy_(torch.where(_like(accept, w), proposal[name], w))
        gradient = {
            name: torch.where(_like(accept, old), there.gradient[name], old) for name, old in here.gradient.items()
        }
        self._here = Evaluated(torch.where(accept, there.excess, here.excess), gradient)
        self._accepted = self._accepted + accept.to(here.excess.dtype)
        self._steps += 1

    def batch_noise(self, noise: Stack) -> None:
        """Returns None: it refuses minibatches, and its gradient has none."""
        return

    def _log_ratio(
        self, position: Stack, here: Evaluated, proposal: Stack, there: Evaluated
    ) -> Float[Tensor, "chain lane"]:
        """Returns the logarithm of the acceptance ratio; a proposal whose loss is not finite has none above 0."""
        ratio = -self._posterior.n_beta.double() * (there.excess.double() - here.excess.double())
        for name, old in position.items():
            new, centre = proposal[name], self._posterior.centre[name]
            n_beta, gamma = per_lane(self._posterior.n_beta, centre), per_lane(self._posterior.gamma, centre)
            eps = self._eps[name].double()
            before = (n_beta * here.gradient[name] + gamma * (old - centre)).double()
            after = (n_beta * there.gradient[name] + gamma * (new - centre)).double()
            change = (new - old).double()
            prior = gamma.double() / 2 * ((old - centre).double().square() - (new - centre).double().square())
            # log q(w | w') - log q(w' | w), with |w' - w + eps/2 grad U(w)|^2 / (2 eps) in each.
            forward = (change + eps / 2 * before).square() / (2 * eps)
            backward = (change - eps / 2 * after).square() / (2 * eps)
            ratio = ratio + (prior + forward - backward).flatten(2).sum(2)
        return ratio.nan_to_num(nan=-torch.inf)


def _like(value: Tensor, like: Tensor) -> Tensor:
    return value.view(*value.shape, *(1,) * (like.ndim - 2))
