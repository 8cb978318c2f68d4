"""Re-optimisation: the minimum that is reached from some weights while others stay, by L-BFGS on all examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.inputs import check_inputs
from llc_lightning.runtime.batches import Batch, LossFn, Params, chunks, n_examples, take
from llc_lightning.runtime.errors import at_least, not_negative, positive
from llc_lightning.runtime.signals import stop_if_asked
from llc_lightning.sampling.slices import moved_entries

_BLOCK = 4096
_TENTHS = 10
_HISTORY = 20
_LOOKS = 4
"""Evaluations of an iteration's line search, on average."""


@dataclass(frozen=True)
class Recovery:
    """Where a re-optimisation ended."""

    params: Params
    """All weights: those that moved where it ended, the others as they were."""
    losses: Float[Tensor, "example"]
    """The loss of every example there, without the pull of the localisation."""
    start: Float[Tensor, "example"]
    """The same where it began."""
    left: float
    """``n_beta`` times what the last tenth of its iterations still gained: nats; NaN where the loss is not finite."""
    iterations: int

    @property
    def gap(self) -> float:
        """By how much the mean loss fell."""
        return (self.start.double() - self.losses.double()).mean().item()

    @property
    def gap_stderr(self) -> float:
        """Its standard error: SD over examples / sqrt(n); NaN for one example."""
        if len(self.losses) < 2:
            return math.nan
        return ((self.start.double() - self.losses.double()).std() / len(self.losses) ** 0.5).item()


def recover(
    loss_fn: LossFn,
    params: Params,
    data: Batch,
    *,
    n_beta: float,
    gamma: float = 0.0,
    moved: Mapping[str, Tensor] | None = None,
    tolerance: float = 0.01,
    budget: int = 500,
) -> Recovery:
    """Returns the minimum of ``L(w) + gamma / (2 n_beta) |w - w*|^2`` that L-BFGS reaches from w* = ``params``.

    With the ``gamma`` of a localised posterior it is the posterior's mode, around which chains at equilibrium move;
    with 0 the minimum of the loss itself. A strong-Wolfe line search on the mean over all examples; nothing is drawn at
    random (Liu and Nocedal 1989, Math. Programming 45).

    Args:
        loss_fn: The loss per example.
        params: w*, by name; not changed.
        data: The examples.
        n_beta: Inverse temperature times sample size, the scale of ``tolerance``.
        gamma: Strength of the localisation.
        moved: Masks by parameter name (absent: frozen); None moves everything that has a gradient.
        tolerance: It ends when a tenth of the budget gains less than so many nats, times ``n_beta``.
        budget: Iterations at most.

    Raises:
        SettingError: If a number is out of range, or ``moved`` does not fit.
        DataError: If the data is empty or its tensors disagree.
    """
    check_inputs(loss_fn, params, moved=moved, seed=0, replicate=0, trivial_loss=None)
    positive(n_beta=n_beta)
    not_negative(gamma=gamma, tolerance=tolerance)
    at_least(_TENTHS, budget=budget)
    with torch.inference_mode(False), torch.enable_grad():
        return _Objective(loss_fn, params, data, n_beta, gamma, moved).minimised(tolerance, budget)


class _Objective:
    """The localised mean loss, over what moves."""

    def __init__(
        self,
        loss_fn: LossFn,
        params: Params,
        data: Batch,
        n_beta: float,
        gamma: float,
        moved: Mapping[str, Tensor] | None,
    ) -> None:
        moved_entries(params, moved)  # which says what does not fit
        self._loss_fn, self._data, self._n_beta = loss_fn, data, n_beta
        self._pull = gamma / n_beta
        self._centre = {name: value.detach().clone() for name, value in params.items()}
        names = [name for name, value in params.items() if value.is_floating_point()]
        self._masks = dict.fromkeys(names) if moved is None else {name: moved[name] for name in names if name in moved}
        self._free = {name: self._centre[name].clone().requires_grad_() for name in self._masks}

    def minimised(self, tolerance: float, budget: int) -> Recovery:
        start = self._losses()
        per_tenth = budget // _TENTHS
        optimizer: Any = torch.optim.LBFGS(  # whose step is not typed
            list(self._free.values()), max_iter=per_tenth, max_eval=_LOOKS * per_tenth, tolerance_grad=0.0,
            tolerance_change=0.0, history_size=_HISTORY, line_search_fn="strong_wolfe",
        )  # fmt: skip
        before, left, iterations = self._value(start), math.nan, 0
        while iterations < _TENTHS * per_tenth:
            stop_if_asked()
            optimizer.step(self._closure)
            after = self._value(self._losses())
            left, before, iterations = self._n_beta * (before - after), after, iterations + per_tenth
            if not abs(left) > tolerance:
                break
        losses = self._losses()
        moved = {name: value.detach().clone() for name, value in self._free.items()}
        return Recovery({**self._centre, **moved}, losses, start, left, iterations)

    def _closure(self) -> float:
        """Returns the objective, after putting its gradient where the optimizer reads it."""
        n, total = n_examples(self._data), 0.0
        sums = [torch.zeros_like(value) for value in self._free.values()]
        for block in chunks(n, _BLOCK):
            losses = self._loss_fn({**self._centre, **self._free}, take(self._data, block))
            total += losses.detach().double().sum().item()
            found = torch.autograd.grad(
                losses.sum(), list(self._free.values()), allow_unused=True, materialize_grads=True
            )
            sums = [before + one for before, one in zip(sums, found, strict=True)]
        for (name, value), gradient in zip(self._free.items(), sums, strict=True):
            slope = gradient / n + self._pull * (value.detach() - self._centre[name])
            mask = self._masks[name]
            value.grad = slope if mask is None else slope.masked_fill(~mask, 0.0)
        return total / n + self._penalty()

    def _losses(self) -> Float[Tensor, "example"]:
        with torch.no_grad():
            at = {**self._centre, **self._free}
            blocks = chunks(n_examples(self._data), _BLOCK)
            return torch.cat([self._loss_fn(at, take(self._data, block)) for block in blocks])

    def _value(self, losses: Float[Tensor, "example"]) -> float:
        return losses.double().mean().item() + self._penalty()

    def _penalty(self) -> float:
        away = ((value.detach() - self._centre[name]).double().square().sum() for name, value in self._free.items())
        return self._pull / 2 * sum(one.item() for one in away)
