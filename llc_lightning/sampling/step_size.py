"""The automatic step size: a fraction of the inverse of the largest curvature that the chains will meet."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import Batch
from llc_lightning.sampling.base import Posterior, Sampler, per_lane
from llc_lightning.sampling.chains import Chains, run_chains
from llc_lightning.sampling.curvature import Spectrum, lanczos, probe
from llc_lightning.sampling.stacked import Stack, StackedLoss, chain_of

EXPLOSION = 1000.0
"""Times its chain's own median, or half the dimension: an excess n_beta (L - L(w*)) beyond this is a divergence."""

_PRODUCTS = 8
_RANKING_PRODUCTS = 2
"""Enough to tell which chain ends where the loss is steepest; its curvature is then measured with more."""
_WORST_SHARE = 1.5
_STABLE = 4.0
_PILOT_STEPS = 30
_HALVINGS = 40


def exploded(chains: Chains, n_beta: Float[Tensor, "lane"], dimension: int) -> torch.Tensor:
    """Returns which chains died or exploded, bool [lane, chain].

    A chain explodes when its scaled excess loss is not finite or goes beyond ``EXPLOSION`` times the larger of its own
    median and half the dimension (the value that a regular model has in equilibrium). A median beyond ``EXPLOSION``
    times that of the lane's lowest chain is no measure of what is usual: such a chain exploded before and stayed there.
    """
    scaled = n_beta[:, None, None].to(chains.excess) * chains.excess
    typical = scaled.abs().nanmedian(-1).values.nan_to_num(posinf=0.0).clamp(min=dimension / 2)
    typical = torch.minimum(typical, EXPLOSION * typical.amin(-1, keepdim=True))
    return ~(scaled.abs() <= EXPLOSION * typical[..., None]).all(-1)


def largest_curvature(
    stacked: StackedLoss,
    posterior: Posterior,
    preconditioner: Stack | None,
    at: Stack,
    batch: Batch,
    *,
    seed: int,
    products: int = _PRODUCTS,
) -> Float[Tensor, "chain lane"]:
    """Returns max |eigenvalue| of ``M^1/2 (n_beta H + gamma) M^1/2`` at a position, by that many Hessian products."""
    start = probe(at, seed)
    return stiffness(stacked, posterior, preconditioner, at, batch, start, products).nodes.abs().amax(-1)


def stiffness(
    stacked: StackedLoss,
    posterior: Posterior,
    preconditioner: Stack | None,
    at: Stack,
    batch: Batch,
    start: Stack,
    products: int,
) -> Spectrum:
    """Returns the quadrature of ``M^1/2 (n_beta H + gamma) M^1/2`` at a position, from a vector."""
    root = {
        name: torch.ones_like(value[:1]) if preconditioner is None else preconditioner[name].sqrt()
        for name, value in at.items()
    }
    hessian = stacked.hessian(at, batch)

    def product(vector: Stack) -> Stack:
        inner = {name: root[name] * value for name, value in vector.items()}
        image = hessian(inner)
        return {
            name: root[name]
            * (per_lane(posterior.n_beta, value) * image[name] + per_lane(posterior.gamma, value) * value)
            for name, value in inner.items()
        }

    return lanczos(product, start, products)


def automatic_step_size(
    stacked: StackedLoss,
    sampler: type[Sampler],
    posterior: Posterior,
    preconditioner: Stack | None,
    data: Batch,
    baseline: Float[Tensor, "example"],
    batch: Batch,
    *,
    fraction: float,
    seed: int,
    chains: Sequence[int],
    batch_size: int | None,
    spectrum: Spectrum | None = None,
) -> Float[Tensor, "lane"]:
    """Returns the step size of every lane: ``fraction`` / max |eigenvalue|, at the centre and where pilot chains end.

    The curvature at the centre alone fails on singular models, where it is zero. The pilot of a lane is repeated at
    half the step until no chain dies, explodes, or ends where the step is beyond the limit of stability: such a chain
    is about to explode, and its curvature is not one that is met in equilibrium. Of the places where its chains end,
    the one with the largest curvature counts, at 1.5 times the fraction: it is the worst of several draws, and one draw
    alone may lie where the loss is flat. Of a sampler that finds its own diagonal, the curvature is that in the
    diagonal that its pilot found.

    Args:
        stacked: The loss.
        sampler: The sampler whose step is wanted.
        posterior: What is sampled.
        preconditioner: The constant diagonal, or None.
        data: The examples that the pilot draws minibatches from.
        baseline: Their losses at the centre.
        batch: The examples that the curvature is measured on.
        fraction: Of the inverse curvature; 4 is the limit of stability of SGLD.
        seed: The run seed.
        chains: The numbers of the chains.
        batch_size: Examples per step and chain.
        spectrum: Of the Hessian at the centre, where it is known and there is no preconditioner.
    """

    def pilot_with(step: Float[Tensor, "lane"]) -> tuple[Chains, Stack | None]:
        made = sampler(posterior, step, preconditioner)
        pilot = run_chains(
            stacked, made, data, baseline,
            seed=seed, chains=chains, steps=_PILOT_STEPS, batch_size=batch_size, streams="pilot-",
        )  # fmt: skip
        return pilot, made.metric

    def at_centre(metric: Stack | None) -> Float[Tensor, "lane"]:
        return largest_curvature(stacked, posterior, metric, stacked.start(1), batch, seed=seed)[0]

    metric = preconditioner
    first = sampler(posterior, torch.ones_like(posterior.n_beta), preconditioner).metric
    if first is not None:  # it finds its own: from a step that is safe in the one that it starts with
        metric = _mean(pilot_with((fraction / at_centre(first)).to(baseline.dtype))[1])
        curvature = at_centre(metric)
    elif spectrum is None:
        curvature = at_centre(metric)
    else:
        curvature = (posterior.n_beta[:, None] * spectrum.nodes[0] + posterior.gamma[:, None]).abs().amax(-1)
    # Without localisation a singular loss is flat at the centre: any finite step is a start, and the pilot halves it.
    step = torch.where(curvature > 0, fraction / curvature, fraction).to(baseline.dtype)
    for _ in range(_HALVINGS):
        pilot, found = pilot_with(step)
        metric = metric if found is None else _mean(found)
        there = curvature_at_the_end(stacked, posterior, metric, pilot.end, batch, seed=seed)
        failed = exploded(pilot, posterior.n_beta[: stacked.lanes], stacked.layout.dimension).any(1).to(step.device)
        failed |= ~(step * there <= _STABLE)[: stacked.lanes]  # a curvature that is NaN fails too
        if not failed.any():
            return torch.minimum(step, (fraction / torch.maximum(curvature, there / _WORST_SHARE)).to(step.dtype))
        step[: stacked.lanes][failed] /= 2
    return step


def curvature_at_the_end(
    stacked: StackedLoss, posterior: Posterior, preconditioner: Stack | None, at: Stack, batch: Batch, *, seed: int
) -> Float[Tensor, "lane"]:
    """Returns the largest curvature where the chains of a lane are: which one is found with few products."""
    # One chain after the other, each keeps the graph of its gradient for its products.
    chains = [chain_of(at, number) for number in range(len(next(iter(at.values()))))]
    ranks = [
        largest_curvature(stacked, posterior, preconditioner, one, batch, seed=seed, products=_RANKING_PRODUCTS)
        for one in chains
    ]
    rank = torch.cat(ranks)
    worst, lane = rank.nan_to_num(nan=torch.inf).argmax(0), torch.arange(stacked.width, device=rank.device)
    end = {name: value[worst.to(value.device), lane.to(value.device)][None] for name, value in at.items()}
    return largest_curvature(stacked, posterior, preconditioner, end, batch, seed=seed)[0]


def _mean(metric: Stack | None) -> Stack | None:
    """Returns a diagonal that every chain has for itself as one for all of them."""
    return None if metric is None else {name: value.mean(0, keepdim=True) for name, value in metric.items()}
