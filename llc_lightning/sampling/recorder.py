"""What is recorded of chains beside their losses, at some of the kept draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from llc_lightning.runtime.types import Batch
from llc_lightning.sampling.base import Evaluated, Posterior, Sampler
from llc_lightning.sampling.stacked import Stack, StackedLoss
from llc_lightning.sampling.step_loss import StepLoss

_LOOKS, _RAREST = 25, 10
_CLOSE = 4
"""Looks, or up to twice as many, at which the gradient is compared with the loss."""
_REACH = 0.3
"""Share of the way from the centre by which chains are moved back and forth, to compare the loss with its gradient."""
_LONG = 4096
"""Numbers of a vector from which on its inner products are taken one by one."""


def recorded_every(draws: int) -> int:
    """Returns how many draws apart chains are looked at closely: at least 25 times, then at every tenth draw.

    A look costs about as much as a step.
    """
    return min(max(1, draws // _LOOKS), _RAREST)


Weights: TypeAlias = Callable[[Stack], Stack]


@dataclass(frozen=True)
class TaskBaseline:
    """The losses of several tasks, known at the centre; the loss function gives them as [example, task]."""

    stacked: StackedLoss
    losses: Float[Tensor, "example own"]
    """At the centre; one for all tasks where they share a loss."""
    shares: Float[Tensor, "example task"]
    """How much an example counts for a task: 0, or the inverse of the share of the examples that do."""


@dataclass(frozen=True)
class Records:
    """What was recorded; None where it was not asked for.

    ``distance2`` is the squared distance of the moved weights from the centre. ``risen`` is by how much the loss
    rises around the chains at some looks, ``sloped`` what its gradient says of it. ``virial`` is ``(w - w*) . M
    grad U``, whose mean in equilibrium is ``trace``, that of ``M``, whatever the loss; ``blind`` says where M is 1 for
    want of a curvature. ``excess`` and ``other_excess`` are excess losses at the same positions, on minibatches that
    depend neither on them nor on each other. ``heat`` is the variance that the noise of minibatches adds to a move over
    that which belongs there, summed over the moved weights. ``tasks`` are the excess losses of tasks, ``examples``
    those of some examples.
    """

    distance2: Float[Tensor, "lane chain draw"]
    risen: Float[Tensor, "lane chain look"]
    sloped: Float[Tensor, "lane chain look"]
    virial: Float[Tensor, "lane chain draw"] | None = None
    trace: Float[Tensor, "lane chain"] | None = None
    blind: Bool[Tensor, "lane chain"] | None = None
    excess: Float[Tensor, "lane chain draw"] | None = None
    other_excess: Float[Tensor, "lane chain draw"] | None = None
    heat: Float[Tensor, "lane chain look"] | None = None
    tasks: Float[Tensor, "lane chain draw task"] | None = None
    examples: Float[Tensor, "lane chain draw example"] | None = None

    def lane(self, number: int) -> Records:
        """Returns the records of one lane, with a lane axis of 1."""
        one: dict[str, Any] = {
            name: None if value is None else value[number : number + 1] for name, value in vars(self).items()
        }
        return Records(**one)


class Recorder:
    """Looks at the chains at every :func:`recorded_every`-th kept draw.

    Args:
        stacked: The loss.
        posterior: What is sampled.
        draws: Kept draws.
        weights: Gives the diagonal ``M`` of every chain's virial for where all chains are when burn-in ends; None
            leaves it out.
        others: Gives the loss on further minibatches, drawn for looking alone; None leaves them out.
        tasks: The tasks to record, or None.
        examples: The examples to record, with their losses at the centre, or None.
    """

    def __init__(
        self,
        stacked: StackedLoss,
        posterior: Posterior,
        *,
        draws: int,
        weights: Weights | None = None,
        others: Callable[[], StepLoss] | None = None,
        tasks: TaskBaseline | None = None,
        examples: tuple[Batch, Float[Tensor, "example"]] | None = None,
    ) -> None:
        self._stacked = stacked
        self._posterior = posterior
        self._every = recorded_every(draws)
        self._spared = self._every * max(1, -(-draws // self._every) // _CLOSE)
        self._risen: list[Tensor] = []
        self._sloped: list[Tensor] = []
        self._blind = torch.zeros(0)
        self._weights_at = weights
        self._weights: Stack = {}
        self._others = others
        self._tasks = tasks
        self._examples = examples
        self._distances: list[Tensor] = []
        self._virials: list[Tensor] = []
        self._excesses: list[Tensor] = []
        self._other_excesses: list[Tensor] = []
        self._heats: list[Tensor] = []
        self._task_losses: list[Tensor] = []
        self._example_losses: list[Tensor] = []

    def settle(self, position: Stack) -> None:
        """Chooses the weights of the virial, once, when burn-in ends: they must not follow the draws."""
        if self._weights_at is None:
            return
        self._weights = self._weights_at(position)
        self._blind = _trace(self._weights) == 0
        for value in self._weights.values():
            value.masked_fill_(self._blind.view(*self._blind.shape, *(1,) * (value.ndim - 2)), 1.0)

    def look(self, draw: int, position: Stack, here: Evaluated, loss: StepLoss, sampler: Sampler) -> None:
        """Records a kept draw, if it is one of those to be recorded.

        Args:
            draw: Its number.
            position: Where the chains are.
            here: The loss and its gradient there.
            loss: The loss on the examples of the step, which are independent of the position.
            sampler: What gave the gradient.
        """
        if draw % self._every:
            return
        away = {name: w - self._posterior.centre[name] for name, w in position.items()}
        close = draw % self._spared == 0
        if close:
            risen, sloped = self._along(away, loss)
            self._risen.append(risen)
            self._sloped.append(sloped)
        self._distances.append(total_of_squares(away))
        if self._weights:
            self._virials.append(_total(self._virial(name, value, here) for name, value in away.items()))
        if self._others is not None:
            others = self._others()
            self._excesses.append(here.excess)
            if close:
                there = sampler.look(position, others)
                self._other_excesses.append(there.excess)
                heating = heating_between(sampler, here.gradient, there.gradient)
                if heating is not None:
                    self._heats.append(total_of_squares(heating))
            else:
                self._other_excesses.append(others.excess(position))
        if self._tasks is not None:
            losses, shares = self._tasks.losses, self._tasks.shares
            if loss.index is not None:
                losses, shares = losses[loss.index], shares[loss.index]
            there = self._tasks.stacked.losses(position, loss.batch, per_chain=loss.minibatch)
            change = (there - _with_lane(losses, loss.minibatch)) * _with_lane(shares, loss.minibatch)
            self._task_losses.append(change.mean(2))
        if self._examples is not None:
            examples, losses = self._examples
            self._example_losses.append(self._stacked.losses(position, examples, per_chain=False) - losses)

    def records(self) -> Records:
        """Returns what was recorded, on the CPU, without padding."""
        lanes = self._stacked.lanes

        def gathered(found: list[Tensor]) -> Tensor | None:
            return _gathered(found, lanes) if found else None

        def of_chains(value: Tensor) -> Tensor:
            return _gathered([value], lanes)[..., 0]

        return Records(
            distance2=_gathered(self._distances, lanes),
            risen=_gathered(self._risen, lanes),
            sloped=_gathered(self._sloped, lanes),
            virial=gathered(self._virials),
            trace=of_chains(_trace(self._weights)) if self._weights else None,
            blind=of_chains(self._blind) if self._weights else None,
            excess=gathered(self._excesses),
            other_excess=gathered(self._other_excesses),
            heat=gathered(self._heats),
            tasks=gathered(self._task_losses),
            examples=gathered(self._example_losses),
        )

    def _along(self, away: Stack, loss: StepLoss) -> tuple[Float[Tensor, "chain lane"], Float[Tensor, "chain lane"]]:
        """Returns by how much the loss rises around the chains, away from the centre, and the integral of its gradient.

        The two agree for any loss that has the gradient of its value: by Simpson's rule, so near that kinks are few.
        """
        centre = self._posterior.centre
        below, here, above = (
            loss({name: centre[name] + place * value for name, value in away.items()})
            for place in (1 - _REACH, 1.0, 1 + _REACH)
        )
        slopes = (_total(_products(away[name], at.gradient[name]) for name in away) for at in (below, here, above))
        sloped = sum(weight * slope for weight, slope in zip((1, 4, 1), slopes, strict=True))
        return above.excess - below.excess, torch.as_tensor(sloped) * _REACH / 3

    def _virial(self, name: str, away: Tensor, here: Evaluated) -> Float[Tensor, "chain lane"]:
        weighted = away * self._weights[name]
        along = _products(weighted, here.gradient[name])
        return self._posterior.n_beta * along + self._posterior.gamma * _products(weighted, away)


def heating_between(sampler: Sampler, one: Stack, other: Stack) -> Stack | None:
    """Returns what the noise of a minibatch's gradient does to a move, from the gradients on two of them."""
    return sampler.heating({name: (value - other[name]) / math.sqrt(2) for name, value in one.items()})


def total_of_squares(stack: Stack) -> Float[Tensor, "chain lane"]:
    """Returns the squared norm of every chain and lane."""
    return _total(_products(value, value) for value in stack.values())


def _products(left: Tensor, right: Tensor) -> Float[Tensor, "chain lane"]:
    """Returns the inner product of every chain and lane."""
    left, right = left.flatten(2), right.flatten(2)
    if left.shape[2] < _LONG or left.device.type != "cpu":
        return (left * right).sum(2)
    # Torch sums no product without writing it down first, except for two vectors.
    rows = zip(left.flatten(0, 1), right.flatten(0, 1), strict=True)
    return torch.stack([torch.dot(*row) for row in rows]).view(left.shape[:2])


def _trace(weights: Stack) -> Float[Tensor, "chain lane"]:
    return _total(value.flatten(2).sum(2) for value in weights.values())


def _total(parts: Iterable[Tensor]) -> Float[Tensor, "chain lane"]:
    return torch.stack(list(parts)).sum(0)


def _with_lane(values: Shaped[Tensor, "..."], per_chain: bool) -> Tensor:
    """Returns values of [chain or none, example, ...] as they broadcast against [chain, lane, example, ...]."""
    return values[:, None] if per_chain else values


def _gathered(found: list[Tensor], lanes: int) -> Tensor:
    """Returns [draw][chain, lane, ...] as [lane, chain, draw, ...]."""
    return torch.stack(found).transpose(0, 2)[:lanes].contiguous().cpu()
