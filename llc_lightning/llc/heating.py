"""What the noise of minibatches adds to an estimate, because it heats the chains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.diagnostics import NOISE_SHARE
from llc_lightning.runtime.types import Batch
from llc_lightning.sampling.base import Posterior, Sampler
from llc_lightning.sampling.chains import Chains
from llc_lightning.sampling.recorder import heating_between, total_of_squares
from llc_lightning.sampling.stacked import Stack, StackedLoss
from llc_lightning.sampling.step_loss import StepLoss
from llc_lightning.sampling.step_size import stiffness

_ENDS, _PRODUCTS = 2, 4


@dataclass(frozen=True)
class Heating:
    """Predicts by how much the noise of minibatches raises a value.

    To first order it is ``1/2 sum_i m_i r_i``: ``r_i`` is the variance that noise adds to a move of weight i over that
    which belongs there (for Langevin steps ``eps n_beta^2 Var(g_i) / 4``, g the gradient on a minibatch), and ``m_i =
    n_beta h_i / (n_beta h_i + gamma)`` how far the loss, and not the localisation, decides where the weight goes. For
    a quadratic loss and a small step it is exact. Of the r at the looks at all chains it takes the median: rare batches
    make noise that is a hundred times larger, and heats little, since the chains are drawn back at once.

    Args:
        stacked: The loss.
        sampler: What moved the chains.
        posterior: What is sampled.
        preconditioner: The constant diagonal, or None.
        batch: The examples that the curvature is measured on.
        others: Gives the loss on further minibatches.
    """

    stacked: StackedLoss
    sampler: Sampler
    posterior: Posterior
    preconditioner: Stack | None
    batch: Batch
    others: Callable[[], StepLoss]

    def bias(self, chains: Chains, value: Float[Tensor, "lane"]) -> Float[Tensor, "lane"]:
        """Returns what is added to each lane's value; NaN where the sampler takes the noise off by itself.

        All m are taken for 1, which is a bound, except where that is much of the value: there the quadrature of the
        Hessian from the noise itself, where two chains end, says how much of it the loss can feel.
        """
        heat = None if chains.records is None else chains.records.heat
        if heat is None:
            return torch.full_like(value, torch.nan)
        bound = heat.where(heat.isfinite(), torch.nan).double().flatten(1).nanmedian(1).values / 2
        much = bound > NOISE_SHARE * value.abs()
        return bound * self._felt(chains.end)[: len(bound)].cpu().where(much, 1.0) if bool(much.any()) else bound

    def _felt(self, end: Stack) -> Float[Tensor, "lane"]:
        """Returns the share of the noise that the loss can feel."""
        one, other = (self.sampler.look(end, self.others()).gradient for _ in range(2))
        noise = heating_between(self.sampler, one, other) or {}
        at, along = ({name: value[:_ENDS] for name, value in stack.items()} for stack in (end, noise))
        metric = self.sampler.metric or self.preconditioner
        mean = torch.ones_like(self.posterior.gamma)
        if metric is not None:
            metric = {name: value[:_ENDS] for name, value in metric.items()}
            weighted = {name: metric[name].sqrt() * value for name, value in along.items()}
            mean = total_of_squares(weighted) / total_of_squares(along)
        found = stiffness(self.stacked, self.posterior, metric, at, self.batch, along, _PRODUCTS)
        pull = self.posterior.gamma * mean  # the localisation's part of the stiffness
        felt = (1 - pull[..., None] / found.nodes.clamp(min=1e-30)).clamp(min=0)
        return (found.weights * felt).sum(-1).nanmean(0)
