"""Runs chains: minibatches, gradients, sampler steps, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import n_examples, take
from llc_lightning.runtime.types import Batch
from llc_lightning.sampling.base import Sampler
from llc_lightning.sampling.stacked import Stack, StackedLoss
from llc_lightning.sampling.streams import BatchStream, NoiseStream

_DISTANCES = 50


@dataclass(frozen=True)
class Chains:
    """What chains left behind, burn-in included.

    ``excess`` is the minibatch loss minus that of the centre on the same minibatch, at the weights before the batch
    moves them; ``baseline`` is the subtracted part, the same for all lanes. ``distance2`` is the squared distance of
    the moved weights from the centre, at some of the kept draws. ``end`` is the last position, padding included.
    """

    excess: Float[Tensor, "lane chain step"]
    baseline: Float[Tensor, "chain step"]
    distance2: Float[Tensor, "lane chain draw"]
    end: Stack

    def lane(self, number: int) -> Chains:
        """Returns the record of one lane, with a lane axis of 1."""
        only = slice(number, number + 1)
        end = {name: value[:, only] for name, value in self.end.items()}
        return Chains(self.excess[only], self.baseline, self.distance2[only], end)


def run_chains(
    stacked: StackedLoss,
    sampler: Sampler,
    data: Batch,
    baseline: Float[Tensor, "example"],
    *,
    seed: int,
    chains: Sequence[int],
    steps: int,
    burn_in: int = 0,
    batch_size: int | None = None,
    start: Stack | None = None,
    streams: str = "",
    done: Callable[[int], object] | None = None,
) -> Chains:
    """Returns the record of ``steps`` steps of every chain of every lane.

    Args:
        stacked: The loss.
        sampler: Moves the chains.
        data: The examples; all of them in every step where ``batch_size`` is None.
        baseline: Their losses at the centre.
        seed: The run seed.
        chains: The numbers of the chains: the keys of their streams.
        steps: Number of steps, burn-in included.
        burn_in: From which step on distances are recorded.
        batch_size: Examples per step and chain, drawn with replacement.
        start: Where the chains start; the centre by default. Not changed.
        streams: A prefix for the kinds of draws, so that pilot chains use other numbers.
        done: Called with 1 after every step.
    """
    centre = stacked.start(1)
    position = {name: value.clone() for name, value in start.items()} if start else stacked.start(len(chains))
    noise = NoiseStream(seed, chains, stacked.layout, position, kind=f"{streams}noise")
    batches = BatchStream(seed, chains, n_examples(data), batch_size, kind=f"{streams}batch") if batch_size else None
    excess = baseline.new_empty(steps, len(chains), stacked.width)
    base = baseline.new_empty(steps, len(chains))
    distances: list[Tensor] = []
    every = max(1, (steps - burn_in) // _DISTANCES)
    full_mean = baseline.mean()
    for step in range(steps):
        if step >= burn_in and (step - burn_in) % every == 0:
            distances.append(_squared_distance(position, centre))
        if batches is None:
            value, gradient = stacked.excess_and_gradient(position, data, baseline, per_chain=False)
            base[step] = full_mean
        else:
            index = batches.draw().to(baseline.device)
            here = baseline[index]
            value, gradient = stacked.excess_and_gradient(position, take(data, index), here, per_chain=True)
            base[step] = here.mean(1)
        excess[step] = value
        sampler.step(position, gradient, noise.draw)
        if done is not None:
            done(1)
    lanes = stacked.lanes
    return Chains(
        excess.permute(2, 1, 0)[:lanes].contiguous().cpu(),
        base.T.contiguous().cpu(),
        torch.stack(distances).permute(2, 1, 0)[:lanes].contiguous().cpu(),
        position,
    )


def _squared_distance(position: Stack, centre: Stack) -> Float[Tensor, "chain lane"]:
    parts = [(w - centre[name]).square().flatten(2).sum(2) for name, w in position.items()]
    return torch.stack(parts).sum(0)
