"""The automatic step size: a fraction of the inverse of the largest curvature that the chains will meet."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.runtime.batches import Batch
from llc_lightning.sampling.base import Posterior, Sampler, per_lane
from llc_lightning.sampling.chains import Chains, run_chains
from llc_lightning.sampling.curvature import Product, Spectrum, lanczos, probe, taken
from llc_lightning.sampling.observables.secant import Secant
from llc_lightning.sampling.recorder import Recorder
from llc_lightning.sampling.stacked import Stack, StackedLoss

EXPLOSION = 1000.0
"""Times its chain's own median, or half the dimension: an excess n_beta (L - L(w*)) beyond this is a divergence."""

IMPROBABLE = 50.0
"""The same for what no equilibrium has, with all examples. Of a loss in d weights that grows as a kink does, or
faster, the scaled excess exceeds 25 d with a probability of at most e^-25: steps near the limit of stability do so."""

_PRODUCTS = 5
WORST_SHARE = 1.5
"""How much stiffer than what the step is made for the worst of several places may be."""
_STABLE = 4.0
_PILOT_STEPS = 24
_HALVINGS, _MOST = 40, 16
_ACCEPTED = 0.25
"""Share of proposals that pilot chains must accept at least: a chain that stays where it is meets no curvature."""
_STEEPEST = 2.0
"""How much the secant may exceed what the step is made for: it is a mean along a way, and of few chains."""
_GRID = 4
"""Automatic step sizes are powers of 2^(1/4), so that rounding on the way to them changes none."""
_ROUNDED = 1e-3
"""Of a step of the grid: what is on it in single precision stays there."""


def exploded(
    chains: Chains, n_beta: Float[Tensor, "lane"], dimension: int, *, limit: float = EXPLOSION
) -> torch.Tensor:
    """Returns which chains died or exploded, bool [lane, chain].

    A chain explodes when its scaled excess loss is not finite or goes beyond ``limit`` times the larger of its own
    median and half the dimension (the value that a regular model has in equilibrium). A median beyond ``limit`` times
    that of the lane's lowest chain is no measure of what is usual: such a chain exploded before and stayed there.
    """
    scaled = n_beta[:, None, None].to(chains.excess) * chains.excess
    typical = scaled.abs().nanmedian(-1).values.nan_to_num(posinf=0.0).clamp(min=dimension / 2)
    typical = torch.minimum(typical, limit * typical.amin(-1, keepdim=True))
    return ~(scaled.abs() <= limit * typical[..., None]).all(-1)


@dataclass(frozen=True)
class Stiffness:
    """``B = P^1/2 (n_beta H + gamma) P^1/2``, which decides how large a step may be: P is the preconditioner, or 1.

    Args:
        stacked: The loss.
        posterior: What is sampled.
        metric: The diagonal P, [1, lane, *slice].
    """

    stacked: StackedLoss
    posterior: Posterior
    metric: Stack | None

    def product(self, at: Stack, batch: Batch) -> Product:
        """Returns the operator at a position, with the Hessian of a batch."""
        return self.over(self.stacked.hessian(at, batch))

    def over(self, hessian: Product) -> Product:
        """Returns the operator of a Hessian that is there already."""

        def bent(image: Tensor, value: Tensor) -> Tensor:
            return (per_lane(self.posterior.n_beta, value) * image).add_(per_lane(self.posterior.gamma, value) * value)

        def product(vector: Stack) -> Stack:
            moved = dict(self.rooted(vector))
            image = dict(hessian(moved))
            return {name: self._rooted(name, bent(image.pop(name), value)) for name, value in taken(moved)}

        return product

    def pull(self, like: Stack) -> Stack:
        """Returns the diagonal that is the localisation's part of it."""
        return {
            name: (per_lane(self.posterior.gamma, value) * (1 if self.metric is None else self.metric[name])).expand_as(
                value
            )
            for name, value in like.items()
        }

    def largest(self, at: Stack, batch: Batch, *, seed: int) -> Float[Tensor, "chain lane"]:
        """Returns the largest absolute eigenvalue at a position."""
        return lanczos(self.product(at, batch), probe(at, seed), _PRODUCTS).nodes.abs().amax(-1)

    def rooted(self, vector: Stack) -> Stack:
        """Returns ``P^1/2`` times a vector."""
        return {name: self._rooted(name, value) for name, value in vector.items()}

    def _rooted(self, name: str, value: Tensor) -> Tensor:
        return value if self.metric is None else self.metric[name].sqrt() * value


def on_grid(step_size: Float[Tensor, "lane"]) -> Float[Tensor, "lane"]:
    """Returns the next smaller power of 2^(1/4)."""
    exponent = (_GRID * step_size.double().log2() + _ROUNDED).floor() / _GRID
    return torch.exp2(exponent).to(step_size.dtype)


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
    start: Stack | None = None,
) -> Float[Tensor, "lane"]:
    """Returns the step size of every lane: ``fraction`` / curvature, at the centre and along pilot chains.

    The curvature at the centre alone fails on singular models, where it is zero. Of the pilot chains two curvatures
    count: the secant along their steps, which also sees kinks, and the largest eigenvalue where the chain of largest
    secant ends, over 1.5, since it is the worst of several draws. The pilot of a lane is repeated with a smaller step
    until no chain dies, explodes, or meets more than 1.5 times the curvature that its step is made for: what it meets
    depends on the step itself; and until a quarter of proposals is accepted, where there are any. Of a sampler that
    finds its own diagonal, the curvature is that in the diagonal that its pilot found. Rounded down to a power of
    2^(1/4).

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
        start: Where the chains will start; the centre by default.
    """
    steps = _PILOT_STEPS if batch_size is None else _PILOT_STEPS // 2  # secants of minibatches cost gradients

    def pilot_with(step: Float[Tensor, "lane"]) -> tuple[Chains, Stack | None]:
        made = sampler(posterior, step, preconditioner)
        recorder = Recorder([Secant(lambda: made.metric or preconditioner)], posterior, lanes=stacked.width)
        pilot = run_chains(
            stacked, made, data, baseline,
            seed=seed, chains=chains, steps=steps, burn_in=steps // 2, batch_size=batch_size,
            streams="pilot-", recorder=recorder, start=start,
        )  # fmt: skip
        return pilot, made.metric

    def at_centre(metric: Stack | None) -> Float[Tensor, "lane"]:
        return Stiffness(stacked, posterior, metric).largest(stacked.centre, batch, seed=seed)[0]

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
    step = on_grid(torch.where(curvature > 0, fraction / curvature, fraction).to(baseline.dtype))
    for _ in range(_HALVINGS):
        pilot, found = pilot_with(step)
        lost = torch.zeros_like(step, dtype=torch.bool)
        lost[: stacked.lanes] = _lost(pilot, posterior.n_beta, stacked).to(step.device)
        if found is not None and not lost.any():
            metric = _mean(found)
        secant = pilot.observed["secant"][..., -1].to(step.device)
        there = _where_steepest(stacked, posterior, metric, pilot.end, secant, batch, seed=seed)
        del pilot, found  # before there are others
        # Minibatches curve more than their mean, which heats the chains a little: that is told by itself.
        along = (secant.amax(1) if batch_size is None else secant.mean(1)) / _STEEPEST
        met = torch.maximum(there / WORST_SHARE, along.double())
        allowed = (fraction / torch.maximum(curvature, met)).to(step.dtype)
        lost |= ~allowed.isfinite()
        failed = lost | (step > WORST_SHARE * allowed)
        failed[stacked.lanes :] = False
        if not failed.any():
            return on_grid(torch.minimum(step, allowed))
        # What a lost chain met is no measure of what it should meet.
        smaller = torch.maximum(allowed, step / _MOST).where(~lost, step / 2)
        step = on_grid(smaller.where(failed, step))
    return step


def _lost(pilot: Chains, n_beta: Float[Tensor, "width"], stacked: StackedLoss) -> Bool[Tensor, "lane"]:
    """Returns of which lanes a chain died or exploded, all of them are far beyond equilibrium, or hardly moved."""
    n_beta = n_beta[: stacked.lanes].cpu()
    high = (n_beta[:, None] * pilot.excess.median(-1).values).amin(1) > EXPLOSION * stacked.layout.dimension
    lost = high | exploded(pilot, n_beta, stacked.layout.dimension).any(1)
    return lost if pilot.acceptance is None else lost | (pilot.acceptance.mean(1) < _ACCEPTED)


def _where_steepest(
    stacked: StackedLoss, posterior: Posterior, metric: Stack | None, at: Stack, rank: Float[Tensor, "lane chain"],
    batch: Batch, *, seed: int,
) -> Float[Tensor, "lane"]:  # fmt: skip
    """Returns the largest curvature where the chain of highest rank is, of each lane."""
    worst, lane = rank.nan_to_num(nan=torch.inf).argmax(1), torch.arange(len(rank), device=rank.device)
    end = {name: value[worst.to(value.device), lane.to(value.device)][None] for name, value in at.items()}
    return Stiffness(stacked, posterior, metric).largest(end, batch, seed=seed)[0]


def _mean(metric: Stack | None) -> Stack | None:
    """Returns a diagonal that every chain has for itself as one for all of them."""
    return None if metric is None else {name: value.mean(0, keepdim=True) for name, value in metric.items()}
