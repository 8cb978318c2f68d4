"""Many small minimisations side by side: quasi-Newton steps, each lane with its own line search and its own end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.moments import tree_sum

Objective: TypeAlias = Callable[
    [Int[Tensor, "lane"], Float[Tensor, "lane number"]], tuple[Float[Tensor, "lane"], Float[Tensor, "lane number"]]
]
"""Returns the values and gradients of some lanes, given by their number, each at a point of its own."""

Watch: TypeAlias = Callable[[Int[Tensor, "lane"], Float[Tensor, "lane number"]], Bool[Tensor, "lane"]]
"""Sees the points that some lanes have come to, and says which of the lanes need go no further."""

_MEMORY = 8
"""Pairs of steps and gradients that the curvature is known from."""
_DECREASE, _CURVATURE = 1e-4, 0.9
"""The share of the promised fall that a step must bring, and that of the slope that may be left."""
_TRIES = 30
"""Points of one line search."""
_ROUNDING = 1e-7
"""Differences below this share of a value are rounding."""


@dataclass
class Lanes:
    """Where all lanes stand."""

    points: Float[Tensor, "lane number"]
    values: Float[Tensor, "lane"]
    left: Float[Tensor, "lane"]
    """How much further the value will fall, as its slope and curvature, or its last steps, have it."""
    steps: Int[Tensor, "lane"]


def minimise(
    objective: Objective,
    start: Float[Tensor, "lane number"],
    *,
    steps: int,
    first: float,
    enough: Float[Tensor, "lane"],
    watch: Watch | None = None,
) -> Lanes:
    """Returns where every lane ends, at most ``steps`` steps from its start.

    Limited-memory BFGS with a line search for the weak Wolfe conditions: a step is doubled while the value keeps
    falling as steeply, and halved between two bounds where it rises (Lewis and Overton 2013, Mathematical Programming
    141, who show that it ends at minima of functions with kinks too). The values never rise. The bits of a lane do not
    depend on the others.

    Args:
        objective: What is minimised.
        start: Where the lanes begin.
        steps: Of each lane, at most.
        first: Length of the first step that is tried, root mean square over the numbers.
        enough: A lane ends when it has less than this left to fall.
        watch: Called after steps.
    """
    lanes = torch.arange(len(start))
    values, gradients = objective(lanes, start)
    at = _State(start.clone(), values, gradients, first)
    active = values.isfinite() & (at.slope < 0)
    at.left[~active] = 0.0
    while bool(active.any()):
        some = active.nonzero()[:, 0]
        moved = at.try_step(some, *objective(some, at.trial(some)))
        if watch is not None and len(moved):
            active[moved[watch(moved, at.points[moved])]] = False
        active &= ~at.stuck & (at.steps < steps) & ~((at.left <= enough) & (at.steps >= 1))
    return Lanes(at.points, at.values, at.left, at.steps)


class _State:
    """Point, curvature and line search of every lane."""

    def __init__(self, points: Tensor, values: Tensor, gradients: Tensor, first: float) -> None:
        lanes, size = points.shape
        self.points, self.values, self.gradients = points, values, gradients
        self._first = first * size**0.5
        self._steps_known = points.new_zeros(lanes, _MEMORY, size)
        self._changes_known = points.new_zeros(lanes, _MEMORY, size)
        self._scales = points.new_zeros(lanes, _MEMORY)
        self.steps = torch.zeros(lanes, dtype=torch.int64)
        self.stuck = torch.zeros(lanes, dtype=torch.bool)
        self.left = torch.full((lanes,), torch.inf, dtype=torch.float64)
        self._falls = torch.full((lanes, 3), torch.inf, dtype=torch.float64)
        self.direction, self.slope = torch.zeros_like(points), points.new_zeros(lanes)
        self._length, self._low, self._high = (torch.zeros(lanes, dtype=points.dtype) for _ in range(3))
        self._tries = torch.zeros(lanes, dtype=torch.int64)
        self._best = (points.clone(), values.clone(), gradients.clone())
        self._aim(torch.arange(lanes))

    def trial(self, some: Tensor) -> Tensor:
        """Returns the points that some lanes try."""
        return self.points[some] + self._length[some, None] * self.direction[some]

    def try_step(self, some: Tensor, values: Tensor, gradients: Tensor) -> Tensor:
        """Judges what some lanes tried, and returns those that made a step."""
        length, slope = self._length[some], self.slope[some]
        rounding = _ROUNDING * self.values[some].abs()
        falls = values <= self.values[some] + _DECREASE * length * slope + rounding
        falls &= values.isfinite() & gradients.isfinite().all(-1)
        steep = _dot(gradients, self.direction[some]) < _CURVATURE * slope
        self._high[some] = torch.where(falls, self._high[some], length)
        self._low[some] = torch.where(falls & steep, length, self._low[some])
        for kept, new in zip(self._best, (self.trial(some), values, gradients), strict=True):
            kept[some] = torch.where(falls.view(-1, *(1,) * (new.ndim - 1)), new, kept[some])
        self._tries[some] += 1
        over = self._tries[some] >= _TRIES
        moved = some[(falls & ~steep) | (over & (self._low[some] > 0))]
        lost = some[over & ~falls & (self._low[some] == 0)]
        bounded = self._high[some].isfinite()
        self._length[some] = torch.where(bounded, (self._low[some] + self._high[some]) / 2, 2 * length)
        self._step(moved)
        self._forget(lost)
        return moved

    def _step(self, moved: Tensor) -> None:
        """Takes lanes to the best points of their line searches."""
        points, values, gradients = (kept[moved] for kept in self._best)
        step, change = points - self.points[moved], gradients - self.gradients[moved]
        curved = _dot(step, change)
        known = curved > 1e-10 * (_dot(step, step) * _dot(change, change)).sqrt()
        for memory, new in ((self._steps_known, step), (self._changes_known, change)):
            memory[moved] = torch.where(
                known[:, None, None], torch.cat([memory[moved][:, 1:], new[:, None]], dim=1), memory[moved]
            )
        scales = torch.cat([self._scales[moved][:, 1:], (1 / curved)[:, None]], dim=1)
        self._scales[moved] = torch.where(known[:, None], scales, self._scales[moved])
        fall = (self.values[moved] - values).double()[:, None]
        self._falls[moved] = torch.cat([self._falls[moved][:, 1:], fall], dim=1)
        self.points[moved], self.values[moved], self.gradients[moved] = points, values, gradients
        self.steps[moved] += 1
        self._aim(moved)

    def _forget(self, lost: Tensor) -> None:
        """Lets lanes whose direction leads nowhere begin again along their gradient; those that did are at an end."""
        self.stuck[lost] |= self._scales[lost].eq(0).all(1)
        self.left[lost] = torch.where(
            self.stuck[lost], torch.minimum(self.left[lost], self._falls[lost].sum(1)), torch.inf
        )
        self._scales[lost] = 0.0
        self._aim(lost)

    def _aim(self, some: Tensor) -> None:
        """Turns lanes into the direction that their curvature has for the best, and prepares their line search."""
        gradients = self.gradients[some]
        towards = gradients.clone()
        steps, changes, scales = self._steps_known[some], self._changes_known[some], self._scales[some]
        shares = torch.zeros_like(scales)
        for k in reversed(range(_MEMORY)):
            shares[:, k] = scales[:, k] * _dot(steps[:, k], towards)
            towards = towards - shares[:, k, None] * changes[:, k]
        newest = _dot(changes[:, -1], changes[:, -1])
        known = scales[:, -1] > 0
        size = _dot(gradients, gradients).sqrt()
        small = torch.finfo(gradients.dtype).tiny
        plain = self._first / size.clamp_min(small)
        towards = towards * torch.where(known, 1 / (scales[:, -1] * newest).clamp_min(small), plain)[:, None]
        for k in range(_MEMORY):
            share = scales[:, k] * _dot(changes[:, k], towards)
            towards = towards + (shares[:, k] - share)[:, None] * steps[:, k]
        slope = -_dot(gradients, towards)
        bad = ~((slope < 0) & slope.isfinite())
        self.direction[some] = torch.where(bad[:, None], -gradients * plain[:, None], -towards)
        self.slope[some] = torch.where(bad, -plain * size.square(), slope)
        self._scales[some] = torch.where(bad[:, None], 0.0, self._scales[some])
        # Half the slope is what a quadratic falls; of kinks, and along a first gradient, only steps can tell.
        told = torch.where(known & ~bad, -self.slope[some].double() / 2, torch.inf)
        self.left[some] = torch.minimum(told, self._falls[some].sum(1)).nan_to_num(torch.inf)
        self._length[some], self._low[some], self._high[some] = 1.0, 0.0, torch.inf
        self._tries[some] = 0
        for kept, now in zip(self._best, (self.points, self.values, self.gradients), strict=True):
            kept[some] = now[some]


def _dot(a: Float[Tensor, "lane number"], b: Float[Tensor, "lane number"]) -> Float[Tensor, "lane"]:
    """Returns products of lanes, summed in an order that does not depend on how many lanes there are."""
    product = a * b
    size = 1 << max(product.shape[1] - 1, 0).bit_length()
    padded = torch.nn.functional.pad(product, (0, size - product.shape[1]))
    return tree_sum(padded[..., None])[:, 0]
