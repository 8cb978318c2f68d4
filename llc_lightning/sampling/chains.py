"""Runs chains: minibatches, gradients, sampler steps, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import Batch, n_examples
from llc_lightning.runtime.signals import stop_if_asked
from llc_lightning.sampling.base import Sampler, StepLoss
from llc_lightning.sampling.recorder import Recorder
from llc_lightning.sampling.stacked import Stack, StackedLoss
from llc_lightning.sampling.streams import BatchStream, NoiseStream


@dataclass(frozen=True)
class Chains:
    """What chains left behind, burn-in included.

    ``excess`` is the minibatch loss minus that of the centre on the same minibatch, at the weights before the batch
    moves them; ``baseline`` is the subtracted part, the same for all lanes. ``end`` is the last position, padding
    included. ``first_order`` is ``(w - w*) . (grad L_b(w*) - grad L(w*))`` at every step where it was asked for, with
    ``L_b`` the loss on the minibatch. ``box_hits`` is the share of weights that the box held back, ``acceptance`` that
    of accepted proposals, NaN where the sampler makes none. ``observed`` is what observables saw, by their names, as
    [lane, chain, draw, ...] at the draws that each looked at.
    """

    excess: Float[Tensor, "lane chain step"]
    baseline: Float[Tensor, "chain step"]
    end: Stack
    first_order: Float[Tensor, "lane chain step"] | None = None
    box_hits: Float[Tensor, "lane chain"] | None = None
    acceptance: Float[Tensor, "lane chain"] | None = None
    observed: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def lane(self, number: int) -> Chains:
        """Returns the record of one lane, with a lane axis of 1."""
        only = slice(number, number + 1)
        return replace(
            self,
            excess=self.excess[only],
            end={name: value[:, only] for name, value in self.end.items()},
            first_order=None if self.first_order is None else self.first_order[only],
            box_hits=None if self.box_hits is None else self.box_hits[only],
            acceptance=None if self.acceptance is None else self.acceptance[only],
            observed={name: seen[only] for name, seen in self.observed.items()},
        )


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
    box: float | None = None,
    recorder: Recorder | None = None,
    first_order: Stack | None = None,
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
        burn_in: After how many of them the sampler settles and the recorder begins.
        batch_size: Examples per step and chain, drawn with replacement.
        start: Where the chains start; the centre by default. Not changed.
        streams: A prefix for the kinds of draws, so that pilot chains use other numbers.
        box: Weights that leave the box ``w* +- box`` are put back on its border after every step.
        recorder: Looks at kept draws.
        first_order: The gradient of the mean loss at the centre, to record the first-order term; None leaves it out.
        done: Called with 1 after every step.
    """
    position = {name: value.clone() for name, value in start.items()} if start else stacked.start(len(chains))
    centre = stacked.centre
    noise = NoiseStream(seed, chains, stacked.layout, position, kind=f"{streams}noise")
    batches = BatchStream(seed, chains, n_examples(data), batch_size, kind=f"{streams}batch") if batch_size else None
    loss = StepLoss(stacked, data, baseline)
    excess = baseline.new_zeros(steps, len(chains), stacked.width)
    linear = None if first_order is None else torch.zeros_like(excess)
    hits = baseline.new_zeros(len(chains), stacked.width)
    base = baseline.mean().expand(steps, len(chains)).clone()
    for step in range(steps):
        stop_if_asked()
        if batches is not None:
            loss = StepLoss(stacked, data, baseline, batches.draw().to(baseline.device))
            base[step] = loss.baseline.mean(1)
        if step == burn_in:
            sampler.settle()
            if recorder is not None:
                recorder.settle(position)
        # Before the move: these examples know nothing of the position yet, so that the excess has no bias.
        here = sampler.look(position, loss)
        excess[step] = here.excess
        if recorder is not None and step >= burn_in:
            recorder.look(step - burn_in, position, here, loss, sampler)
        if linear is not None and first_order is not None and loss.minibatch:
            linear[step] = _first_order(position, centre, loss.gradient_at_centre(), first_order)
        sampler.step(position, here, loss, noise)
        del here  # of large networks its gradient is in the way of the next
        loss.forget()
        if box is not None:
            hits += _put_back(position, centre, box)
        if done is not None:
            done(1)
    stacked.forget()
    lanes = stacked.lanes
    return Chains(
        _by_lane(excess, lanes),
        base.T.contiguous().cpu(),
        position,
        first_order=None if linear is None else _by_lane(linear, lanes),
        box_hits=None if box is None else (hits.T[:lanes] / (steps * stacked.layout.dimension)).cpu(),
        acceptance=None if sampler.acceptance is None else sampler.acceptance.T[:lanes].contiguous().cpu(),
        observed={} if recorder is None else recorder.observed(),
    )


def _by_lane(values: Float[Tensor, "step chain lane"], lanes: int) -> Float[Tensor, "kept chain step"]:
    return values.permute(2, 1, 0)[:lanes].contiguous().cpu()


def _first_order(position: Stack, centre: Stack, there: Stack, mean: Stack) -> Float[Tensor, "chain lane"]:
    parts = [((w - centre[name]) * (there[name] - mean[name])).flatten(2).sum(2) for name, w in position.items()]
    return torch.stack(parts).sum(0)


def _put_back(position: Stack, centre: Stack, box: float) -> Float[Tensor, "chain lane"]:
    """Puts weights outside of the box on its border, in place, and returns how many there were."""
    outside: list[Tensor] = []
    for name, w in position.items():
        out = (w - centre[name]).abs() > box
        outside.append(out.flatten(2).sum(2))
        w.copy_(torch.minimum(torch.maximum(w, centre[name] - box), centre[name] + box))
    return torch.stack(outside).sum(0).to(next(iter(position.values())).dtype)
