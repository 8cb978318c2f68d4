"""The search for the constants that a loss or a metric is best under, for many components at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import Activations
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.lanes import losses_of
from llc_lightning.ablation.engine.minimise import Objective, minimise
from llc_lightning.ablation.engine.moments import mean_over_examples, sd_over_examples
from llc_lightning.ablation.engine.place import Place, Replacement
from llc_lightning.ablation.engine.replacing import Replacing
from llc_lightning.runtime.batches import chunks, take
from llc_lightning.runtime.errors import SettingError

T = TypeVar("T")

Values = tuple[Float[Tensor, "lane row ..."], ...]
"""For every place one value for each lane, with a row axis of length 1."""

_DESCENTS, _SHORT = 3, 15
"""Descents of every component from its best starts, and their steps before the best of them goes on alone."""
_DONORS = 3
"""Activations of single examples among the starts."""
_HELD = 4
"""One example of so many is held out of a fit of many constants."""
_MANY = 4
"""So many times the examples the square of a number of constants must be for these to be many: they are then better by
more than two standard errors of the paired difference where they are fitted to noise."""
_NOISE = 0.01
"""The share of components with nothing to gain that a fit to noise may move off a plain constant."""
_FORGONE = 2.0
"""No more standard errors of the paired difference than these are forgone for a plain constant."""
_PATIENCE = 40
"""Steps that a descent goes on while held-out examples do not gain."""
_ENOUGH = 1e-4
"""The share of what the starts differ by that is not worth a step."""
_LEAST = 0.1
"""The least spread of a unit, in units of the root mean square of its component: one that is constant can move too."""


@dataclass(frozen=True)
class Found:
    """What a search found for every component."""

    values: Values
    starts: Sequence[str]
    """Where the descent to each began."""
    left: Sequence[float]
    """How much further each loss will fall on the examples of the fit, by slope and curvature or the last steps."""
    gains: Sequence[float]
    """How much lower each loss is than under the mean, on the examples of the fit."""
    steps: Sequence[int]
    drift: Sequence[tuple[float, float]]
    """How far each is from the mean: over the size of the mean, and in standard deviations of the activation."""

    def or_better(self, other: Found, *, by: float) -> Found:
        """Returns this, but what another search found where that gained more, by a share of the gain."""
        better = [b > a + by * abs(a) for a, b in zip(self.gains, other.gains, strict=True)]
        which = torch.tensor(better)

        def picked(mine: Sequence[T], others: Sequence[T]) -> list[T]:
            return [b if won else a for a, b, won in zip(mine, others, better, strict=True)]

        return Found(
            tuple(
                torch.where(which.to(a.device).view(-1, *(1,) * (a.ndim - 1)), b, a)
                for a, b in zip(self.values, other.values, strict=True)
            ),
            picked(self.starts, other.starts),
            picked(self.left, other.left),
            picked(self.gains, other.gains),
            picked(self.steps, other.steps),
            picked(self.drift, other.drift),
        )


class Search:
    """The constants of some components that are best for one loss on some examples.

    Of many starts (zero, the mean, the median, activations of single examples, constants that are known already) the
    best three descend, then the best of these alone. Where the constants are many for the examples, a quarter of them
    is held out, and a descent ends where these gain nothing more; one that they do not end goes on on all examples.

    What is found replaces the better of zero and the mean where it is better by more than a fit to noise would be, so
    that a component with nothing to gain keeps a plain constant: a fit of d constants to noise is better by
    ``chi_d / 2`` standard errors of the paired difference on the examples that it is fitted on, and must be so by the
    99 % point of that, or by two standard errors where this is more; on held-out examples by one standard error (the
    rule of Breiman et al. 1984). So the result is never worse than zero and the mean where it is fitted.

    Args:
        group: The components.
        seen: The activations of the examples of the fit, at each place.
        rows: The examples of the fit, by their index, in random order.
        column: The number of the loss.
        mean: The mean of all examples at each place, as the method ``mean`` has it.
        steps: Of a descent, at most.
        rate: The first step that is tried, in standard deviations of the activation.
    """

    def __init__(
        self,
        group: Replacing,
        seen: Sequence[Activations],
        rows: Int[Tensor, "example"],
        column: int,
        *,
        mean: Sequence[Tensor],
        steps: int,
        rate: float,
    ) -> None:
        self._group, self._seen, self._column, self._steps, self._rate = group, seen, column, steps, rate
        self._rows = rows
        self._mean = tuple(_restricted(at, one, mine) for (at, mine), one in zip(self._places(), mean, strict=True))
        self.means = tuple(_restricted(place, mean_over_examples(one.activation), one) for place, one in self._places())
        self._scales = tuple(_spread(place, one) for place, one in self._places())

    def best(self, known: Mapping[str, Values], *, pooled: bool, alone: bool = False) -> Found:
        """Returns the best constants.

        Args:
            known: Constants to start from as well, by a name for each.
            pooled: Whether all positions share one.
            alone: Whether to start from these alone, beside zero and the mean.
        """
        own = self._starts()
        starts = ({name: own[name] for name in ("zero", "mean")} if alone else own) | dict(known)
        apart = not pooled and any(one.positions for one in self._seen)
        plain = ["zero", "mean"]
        if apart:
            starts["pooled"] = self._descended(starts, plain, pooled=True).values
            plain.append("pooled")
        return self._descended(starts, plain, pooled=not apart)

    def _places(self) -> list[tuple[Place, Activations]]:
        return list(zip(self._group.places, self._seen, strict=True))

    def _starts(self) -> dict[str, Values]:
        """Returns the starts that need no fit."""
        starts = {"zero": tuple(torch.zeros_like(mean) for mean in self.means), "mean": self._mean}
        middle = [one.activation.median(0).values for one in self._seen]  # pyright: ignore[reportUnknownMemberType]
        starts["median"] = tuple(
            _restricted(at, one, mine) for (at, mine), one in zip(self._places(), middle, strict=True)
        )
        for row in range(min(_DONORS, len(self._rows))):
            starts[f"example {row}"] = tuple(_restricted(at, one.activation[row], one) for at, one in self._places())
        return starts

    def _descended(self, starts: Mapping[str, Values], plain: list[str], *, pooled: bool) -> Found:
        space = _Space(self.means, self._scales, [one.positions if pooled else () for one in self._seen])
        held = len(self._rows) // _HELD if space.size**2 > _MANY * len(self._rows) else 0
        descent = _Descent(self._group, space, self._rows, held, self._column, self._steps, self._rate)
        return descent.run({name: space.points(values) for name, values in starts.items()}, plain)


class _Descent:
    """Descents of all components in one space of constants."""

    def __init__(
        self, group: Replacing, space: _Space, rows: Tensor, held: int, column: int, steps: int, rate: float
    ) -> None:
        self._space, self._steps, self._rate = space, steps, rate
        self._numbers = torch.arange(len(group.components))
        self._fit = Scored(group, rows[held:], column)
        self._held = Scored(group, rows[:held], column) if held else None
        self._all = Scored(group, rows, column) if held else self._fit

    def run(self, starts: Mapping[str, Float[Tensor, "component number"]], plain: Sequence[str]) -> Found:
        """Returns what descents from the best of the starts find, or the best plain one of them."""
        names, count = list(starts), len(self._numbers)
        points = torch.stack(list(starts.values()))
        losses = torch.stack([self._fit.losses(self._numbers, self._at(one)) for one in points])
        judged = losses
        if self._held is not None:
            judged = torch.stack([self._held.losses(self._numbers, self._at(one)) for one in points])
        first = (losses + judged).sort(dim=0, stable=True).indices[: _DESCENTS if self._steps else 1]
        spread = losses.nan_to_num(posinf=torch.nan).nanmedian(0).values - losses.amin(0)
        enough = _ENOUGH * spread.nan_to_num(0.0) + 1e-6 * losses.amin(0).abs()
        begun = points.gather(0, first[..., None].expand(-1, -1, points.shape[-1])).flatten(0, 1)
        short = self._minimised(self._numbers.repeat(len(first)), begun, min(_SHORT, self._steps), enough)
        which = short.judged.view(len(first), count).argmin(0)
        after = short.at(which * count + self._numbers)
        ended = self._minimised(self._numbers, after.points, self._steps - _SHORT, enough, after=after)
        return self._chosen(
            ended,
            self._finished(ended, enough),
            [names[int(one)] for one in first[which, self._numbers]],
            starts,
            plain,
        )

    def _at(self, points: Tensor) -> Values:
        return self._space.values(self._numbers, points)

    def _minimised(
        self, numbers: Tensor, points: Tensor, steps: int, enough: Tensor, after: _Ended | None = None
    ) -> _Ended:
        """Returns where descents end; those that held-out examples stop are where these are best."""
        if steps <= 0 and after is not None:
            return after

        objective = self._objective(self._fit, numbers)
        watch = None if self._held is None else _Watch(self._held, self._space, numbers, points)
        found = minimise(objective, points, steps=steps, first=self._rate, enough=enough[numbers], watch=watch)
        steps_made = found.steps if after is None else after.steps + found.steps
        if watch is None:
            return _Ended(found.points, found.values.double(), found.left, steps_made)
        left = torch.where(watch.stopped, 0.0, found.left)
        return _Ended(watch.points, watch.losses, left, steps_made, watch.stopped)

    def _objective(self, scored: Scored, numbers: Tensor) -> Objective:
        return lambda lanes, at: scored.slopes(numbers[lanes], at, self._space)

    def _finished(self, ended: _Ended, enough: Tensor) -> _Ended:
        """Returns where descents end on all examples, of those that the held-out ones did not end before."""
        lanes = torch.zeros(0, dtype=torch.int64) if ended.stopped is None else (~ended.stopped).nonzero()[:, 0]
        if not len(lanes) or self._steps <= _SHORT:
            return ended
        found = minimise(
            self._objective(self._all, lanes), ended.points[lanes], steps=self._steps, first=self._rate,
            enough=enough[lanes],
        )  # fmt: skip
        points, left, steps = ended.points.clone(), ended.left.clone(), ended.steps.clone()
        points[lanes], left[lanes], steps[lanes] = found.points, found.left, steps[lanes] + found.steps
        return replace(ended, points=points, left=left, steps=steps)

    def _chosen(
        self,
        ended: _Ended,
        finished: _Ended,
        begun: Sequence[str],
        starts: Mapping[str, Float[Tensor, "component number"]],
        plain: Sequence[str],
    ) -> Found:
        """Returns what was found where it is better than the best plain constant, and that elsewhere."""
        each = {name: self._each(starts[name]) for name in plain}
        base = torch.stack([one.mean(1) for one in each.values()]).nan_to_num(torch.inf).argmin(0)
        points = torch.stack([starts[name] for name in plain])[base, self._numbers]
        losses, found = torch.stack(list(each.values()))[base, self._numbers], self._each(ended.points)
        better = self._is_better(found - losses) & (found.mean(1) <= losses.mean(1))
        chosen = torch.where(better[:, None], finished.points, points)
        reached = torch.where(better, self._each(finished.points).mean(1), losses.mean(1))
        return Found(
            self._at(chosen),
            [start if won else plain[int(one)] for start, won, one in zip(begun, better, base, strict=True)],
            [float(one) for one in finished.left],
            [float(one) for one in each["mean"].mean(1) - reached],
            [int(one) for one in finished.steps],
            self._space.drift(chosen),
        )

    def _each(self, points: Float[Tensor, "component number"]) -> Float[Tensor, "component example"]:
        """Returns the losses of the examples that count, held-out ones first."""
        values = self._at(points)
        held = [] if self._held is None else [self._held.each(self._numbers, values)]
        return torch.cat([*held, self._fit.each(self._numbers, values)], dim=1)

    def _is_better(self, differences: Float[Tensor, "component example"]) -> Bool[Tensor, "component"]:
        """Says by the differences to a plain constant where a fit is better than one to noise would be."""
        from scipy import stats  # takes long to import

        tests: Any = stats  # its functions carry no types
        limit = min(float(tests.chi2.isf(_NOISE, self._space.size)) ** 0.5 / 2, _FORGONE)
        if self._held is not None:
            differences, limit = differences[:, : self._held.number], 1.0
        n = differences.shape[1]
        error = differences.std(1) / n**0.5 if n > 1 else torch.zeros(len(differences))
        return -differences.mean(1) > limit * error


@dataclass(frozen=True)
class _Ended:
    """Where descents ended: the loss on the examples that judge, what is left, steps."""

    points: Tensor
    judged: Tensor
    left: Tensor
    steps: Tensor
    stopped: Tensor | None = None
    """Whether held-out examples ended it; None where none were held out."""

    def at(self, lanes: Tensor) -> _Ended:
        """Returns some of them."""
        return _Ended(self.points[lanes], self.judged[lanes], self.left[lanes], self.steps[lanes])


class _Watch:
    """Keeps the points of descents where held-out examples are best, and ends those that gain nothing for long."""

    def __init__(self, held: Scored, space: _Space, numbers: Tensor, points: Tensor) -> None:
        self._held, self._space, self._numbers = held, space, numbers
        self.points = points.clone()
        self.losses = held.losses(numbers, space.values(numbers, points))
        self._since = torch.zeros(len(numbers), dtype=torch.int64)
        self.stopped = torch.zeros(len(numbers), dtype=torch.bool)

    def __call__(self, lanes: Tensor, points: Tensor) -> Bool[Tensor, "lane"]:
        """Returns which of the lanes end."""
        numbers = self._numbers[lanes]
        losses = self._held.losses(numbers, self._space.values(numbers, points))
        better = losses < self.losses[lanes]
        self.losses[lanes] = torch.where(better, losses, self.losses[lanes])
        self.points[lanes] = torch.where(better[:, None], points, self.points[lanes])
        self._since[lanes] = torch.where(better, 0, self._since[lanes] + 1)
        self.stopped[lanes] = self._since[lanes] >= _PATIENCE
        return self.stopped[lanes]


class _Space:
    """The constants of components as points: distances from the mean, in standard deviations."""

    def __init__(self, means: Values, scales: Values, pooled: Sequence[tuple[int, ...]]) -> None:
        self._shapes = [mean.shape[1:] for mean in means]
        self._axes = [tuple(axis + 1 for axis in axes) for axes in pooled]
        self._means = tuple(self._over(mean, axes) for mean, axes in zip(means, self._axes, strict=True))
        self._scales = tuple(self._over(scale, axes) for scale, axes in zip(scales, self._axes, strict=True))
        self._full = means, scales

    @cached_property
    def size(self) -> int:
        """How many constants a component has."""
        return sum(mean[0].numel() for mean in self._means)

    def points(self, values: Values) -> Float[Tensor, "component number"]:
        """Returns the points of constants, of pooled positions of their mean."""
        parts = zip(values, self._means, self._scales, self._axes, strict=True)
        return torch.cat([((self._over(v, axes) - m) / s).flatten(1) for v, m, s, axes in parts], dim=1)

    def values(self, numbers: Int[Tensor, "lane"], points: Float[Tensor, "lane number"]) -> Values:
        """Returns the constants at some points of components."""
        ends = list(accumulate(mean[0].numel() for mean in self._means))
        pieces = [points[:, start:end] for start, end in zip([0, *ends], ends, strict=False)]
        parts = zip(pieces, self._means, self._scales, self._shapes, strict=True)
        return tuple(
            (mean[numbers] + scale[numbers] * point.reshape(-1, *mean.shape[1:])).expand(-1, *shape)
            for point, mean, scale, shape in parts
        )

    def drift(self, points: Float[Tensor, "component number"]) -> list[tuple[float, float]]:
        """Returns how far points are from the means, over the size of these and in standard deviations."""
        values = self.values(torch.arange(len(points)), points)
        told: list[tuple[float, float]] = []
        for number in range(len(points)):
            apart, size, spread = (
                torch.cat([one[number].double().flatten() for one in some])
                for some in ([a - b for a, b in zip(values, self._full[0], strict=True)], *self._full)
            )
            least = torch.finfo(torch.float32).tiny
            drift = float(apart.square().sum().sqrt() / size.square().sum().sqrt().clamp_min(least))
            told.append((drift, float((apart / spread).square().mean().sqrt())))
        return told

    @staticmethod
    def _over(values: Tensor, axes: tuple[int, ...]) -> Tensor:
        return values.mean(axes, keepdim=True) if axes else values


class Scored:
    """Some of the examples, and the loss of components' constants on them."""

    def __init__(self, group: Replacing, rows: Int[Tensor, "example"], column: int) -> None:
        examples = group.examples
        tasks = len(examples.names) - len(examples.metrics)
        metrics = examples.metrics[column - tasks :][:1] if column >= tasks else ()
        self._group = group.fitting(with_tasks=0 < column < tasks, metrics=metrics)
        device = group.places[0].where.device
        data = take(examples.blocks.data, rows.to(device))
        self._blocks = Blocks.of(data, min(examples.blocks.size, Blocks.of(data).size))
        self._counts: list[Tensor] = []
        self._clean: list[tuple[Tensor, ...]] = []
        for block, batch in enumerate(self._blocks.batches):
            counted = self._blocks.real(block).to(device)
            if 0 < column < tasks or metrics:
                plain = losses_of(examples.loss, examples.params, batch, 0 < column < tasks, metrics)
                counted = counted if plain.counted is None else counted & plain.counted[:, column - 1]
                self._clean.append(plain.outputs)
            else:
                self._clean.append(())
            self._counts.append(counted)
        self._task = column - 1 if 0 < column < tasks else None

    @property
    def number(self) -> int:
        """How many examples count."""
        return sum(int(counts.sum()) for counts in self._counts)

    def losses(self, numbers: Int[Tensor, "lane"], values: Values) -> Float[Tensor, "lane"]:
        """Returns the mean loss of components under constants, infinite where it is not finite."""
        each = self._rows_of(numbers, values)
        sums = [
            torch.where(counts, losses, 0).sum(-1).double() for counts, losses in zip(self._counts, each, strict=True)
        ]
        return (torch.stack(sums).sum(0) / max(self.number, 1)).nan_to_num(torch.inf, torch.inf, torch.inf).cpu()

    def each(self, numbers: Int[Tensor, "lane"], values: Values) -> Float[Tensor, "lane example"]:
        """Returns the losses of the examples that count, of components under constants."""
        each = self._rows_of(numbers, values)
        return torch.cat([one[:, counts] for counts, one in zip(self._counts, each, strict=True)], dim=1).double().cpu()

    def _rows_of(self, numbers: Tensor, values: Values) -> list[Float[Tensor, "lane example"]]:
        """Returns the losses of every block, of all its rows."""
        with torch.no_grad():
            return [
                torch.cat(
                    [
                        self._losses(block, self._aims(numbers[some]), tuple(value[some] for value in values))
                        for some in chunks(len(numbers), self._group.most)
                    ]
                )
                for block in range(len(self._blocks))
            ]

    def slopes(
        self, numbers: Int[Tensor, "lane"], points: Float[Tensor, "lane number"], space: _Space
    ) -> tuple[Float[Tensor, "lane"], Float[Tensor, "lane number"]]:
        """Returns the mean loss at points, and its gradient.

        Raises:
            SettingError: If the loss has no gradient.
        """
        values: list[Tensor] = []
        gradients: list[Tensor] = []
        for some in chunks(len(numbers), self._group.most):
            total: Tensor | None = None
            gradient = torch.zeros_like(points[some])
            for block in range(len(self._blocks)):
                with torch.enable_grad():
                    at = points[some].detach().requires_grad_(True)
                    losses = self._losses(block, self._aims(numbers[some]), space.values(numbers[some], at))
                    sums = torch.where(self._counts[block], losses, 0).sum(-1)
                    if not sums.requires_grad:
                        raise SettingError(
                            "the loss has no gradient, which the ablation method 'optimal' follows; give a "
                            "differentiable loss, or use another method."
                        )
                    gradient += torch.autograd.grad(sums.sum() / max(self.number, 1), at)[0]
                total = sums.detach().double() if total is None else total + sums.detach().double()
            values.append((total if total is not None else torch.zeros(len(gradient))) / max(self.number, 1))
            gradients.append(gradient)
        told = torch.cat(values).nan_to_num(torch.inf, torch.inf, torch.inf)
        return told.to(points.dtype), torch.cat(gradients)

    def _aims(self, numbers: Tensor) -> tuple[Replacement, ...]:
        return self._group.aims(numbers.to(self._group.places[0].where.device))

    def _losses(self, block: int, aims: Sequence[Replacement], values: Values) -> Float[Tensor, "lane example"]:
        batch, clean = self._blocks.batches[block], self._clean[block]
        losses = self._group.run(batch, aims, values, clean=clean)
        if self._group.lanes.metrics:
            return losses[-1][..., 0]
        return losses[0][..., 0] if self._task is None else losses[1][..., self._task]


def _restricted(place: Place, values: Float[Tensor, "*unit"], seen: Activations) -> Float[Tensor, "component row *few"]:
    return place.compact(values.to(seen.activation.dtype)[None], slice(None))


def _spread(place: Place, seen: Activations) -> Float[Tensor, "component row *few"]:
    """Returns the standard deviation of the entries that each component replaces, positive."""
    spread = _restricted(place, sd_over_examples(seen.activation), seen)
    mean = _restricted(place, mean_over_examples(seen.activation), seen)
    size = (spread.square() + mean.square()).flatten(1).mean(1).sqrt()
    least = torch.where(size > 0, _LEAST * size, 1.0).view(-1, *(1,) * (spread.ndim - 1))
    return torch.maximum(spread, least).nan_to_num(1.0, 1.0, 1.0)
