"""What the noise of minibatches adds to an estimate, because it makes the chains hotter."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.diagnostics.batch_noise import NOISE_SHARE
from llc_lightning.runtime.batches import Batch
from llc_lightning.sampling.base import Posterior, Sampler, StepLoss
from llc_lightning.sampling.chains import Chains
from llc_lightning.sampling.observables.batch_noise import noise_between
from llc_lightning.sampling.products import inner
from llc_lightning.sampling.stacked import Stack, StackedLoss, chain_of
from llc_lightning.sampling.curvature import lanczos
from llc_lightning.sampling.step_size import Stiffness

_ENDS, _PRODUCTS = 8, 4
_TINY = 1e-30


@dataclass(frozen=True)
class NoiseBias:
    """What the noise of minibatches adds to the values of lanes, and its standard error."""

    value: Float[Tensor, "lane"]
    stderr: Float[Tensor, "lane"]


@dataclass(frozen=True)
class NoisePrediction:
    """Predicts by how much the noise of minibatches raises a value.

    To first order it is ``1/2 sum_i m_i E[r_i]``: ``r_i`` is the variance that noise adds to a move of weight i over
    that which belongs there (for Langevin steps ``eps n_beta^2 Var(g_i) / 4``, g the gradient on a minibatch), and
    ``m_i = n_beta h_i / (n_beta h_i + gamma)`` how far the loss, and not the localisation, decides where the weight
    goes. Rare batches of much larger noise make the mean over the looks uncertain, as its error says.

    Args:
        stacked: The loss.
        sampler: What moved the chains.
        posterior: What is sampled.
        preconditioner: The constant diagonal, or None.
        batch: The examples that the curvature is measured on.
        further: Gives the loss on further minibatches.
    """

    stacked: StackedLoss
    sampler: Sampler
    posterior: Posterior
    preconditioner: Stack | None
    batch: Batch
    further: Callable[[], StepLoss]

    def bias(self, chains: Chains, value: Float[Tensor, "lane"]) -> NoiseBias:
        """Returns what is added to each lane's value; NaN where the sampler takes the noise off by itself.

        All m are taken for 1, which is a bound, except where that is much of the value: there the quadrature of the
        Hessian from the noise itself, where some chains end, says how much of it the loss can feel.
        """
        looks = chains.observed["batch_noise"].double().flatten(1) / 2
        known = looks.isfinite()
        count = known.sum(1)
        bound = looks.where(known, 0.0).sum(1) / count
        squares = (looks - bound[:, None]).square().where(known, 0.0).sum(1)
        error = (squares / (count - 1).clamp(min=1) / count).sqrt()
        much = bound > NOISE_SHARE * (value - bound).abs()
        if bool(much.any()):
            felt = self._felt(chains.end)[: len(bound)].cpu().where(much, 1.0)
            return NoiseBias(bound * felt, error * felt)
        return NoiseBias(bound, error)

    def _felt(self, end: Stack) -> Float[Tensor, "width"]:
        """Returns the share of the noise that the loss can feel."""
        one, other = (self.sampler.look(end, self.further()).gradient for _ in range(2))
        noise = noise_between(self.sampler, one, other) or {}
        found = [
            self._felt_by(chain_of(end, i), chain_of(noise, i))
            for i in range(min(_ENDS, len(next(iter(end.values())))))
        ]
        total = sum(size for _, size in found)
        felt = sum(share * size for share, size in found) / total
        return torch.as_tensor(felt).nan_to_num(nan=1.0)

    def _felt_by(self, at: Stack, noise: Stack) -> tuple[Float[Tensor, "width"], Float[Tensor, "width"]]:
        """Returns the share of one chain's noise that the loss can feel, and the noise's square."""
        metric = self.sampler.metric or self.preconditioner
        size, start = inner(noise, noise)[0].double(), noise
        if metric is not None:
            metric = {name: value[:1] for name, value in metric.items()}
            start = {name: metric[name].sqrt() * value for name, value in noise.items()}
        stiffness = Stiffness(self.stacked, self.posterior, metric)
        found = lanczos(stiffness.product(at, self.batch), start, _PRODUCTS)
        pull = self.posterior.gamma * found.norm2[0] / size  # the localisation's part of the stiffness
        lost = found.weights[0] * pull[:, None] / found.nodes[0].clamp(min=pull.clamp(min=_TINY)[:, None])
        return 1 - lost.sum(-1).clamp(0, 1), size
