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

_DESCENTS = 3
"""Descents of a component at a time, first from its best starts; all others follow where no two of these agree."""
_DONORS = 3
"""Activations of single examples among the starts."""
_FAR, _AWAY = 9, 3.0
"""Starts at random around the mean, and how far, in standard deviations: they end in minima that others pass by."""
_HELD = 4
"""One example of so many is held out of a fit of many constants."""
_MANY = 4
"""So many times the examples the square of a number of constants must be for these to be many: they are then better by
more than two standard errors of the paired difference where they are fitted to noise."""
_NOISE = 0.01
"""The share of components with nothing to gain that a fit to noise may move off a plain constant."""
_ERRORS = 2.0
"""Differences are of note beyond so many standard errors of the paired difference."""
_FORGONE = 1.8
"""No more of them are forgone for a plain constant: fewer, since another search may end a little lower."""
UNDECIDED = 0.01
"""The share of the gain over the mean that two descents may end apart, or one may leave."""
_PATIENCE = 40
"""Steps that a descent goes on while held-out examples do not gain, at least."""
_ENOUGH = 1e-4
"""The share of what the starts differ by that is not worth a step."""
_LAST = 0.01
"""The share of that which is worth a step to the last descent, from the best end: flat valleys look like minima."""
_LEAST = 0.1
"""The least spread of a unit, in units of the root mean square of its component: one that is constant can move too."""


@dataclass(frozen=True)
class Found:
    """What a search found for every component."""

    values: Values
    starts: Sequence[str]
    """Where the descent to each began."""
    left: Sequence[float]
    """How much further each loss will fall on the examples of the fit, by slope and curvature or the last steps; or how
    far the second best descent ended above the best, where this is more."""
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
    best three descend. Where no two of them end in the same minimum, and always where the constants are many for the
    examples, all others follow, and some from far away: in a landscape of many minima the best start need not lead to
    the best one. From the best end a last descent goes on until nothing of note is left, for as many steps at most.

    Where the constants are many, a quarter of the examples is held out of all descents but the last. One under which
    these become worse again, by more than noise and a hundredth of the gain, fits noise: it counts where they were
    best, and is not gone on with.

    What is found replaces the better of zero and the mean where it is better by more than a fit to noise would be, so
    that a component with nothing to gain keeps a plain constant: a fit of d constants to noise is better by
    ``chi_d / 2`` standard errors of the paired difference on the examples that it is fitted on, and must be so by the
    99 % point of that, but by no more than 1.8 standard errors; on held-out examples by one standard error (the rule
    of Breiman et al. 1984). So the result is never worse than zero and the mean where it is fitted.

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
        mean, points = starts["mean"], torch.stack(list(starts.values()))
        losses = torch.stack([self._all.losses(self._numbers, self._at(one)) for one in points])
        spread = losses.nan_to_num(posinf=torch.nan).nanmedian(0).values - losses.amin(0)
        enough = _ENOUGH * spread.nan_to_num(0.0) + 1e-6 * losses.amin(0).abs()
        order = losses.masked_fill(_repeated(losses), torch.inf).sort(dim=0, stable=True)
        # All components have the same draws, so that none depends on which others there are.
        far = _AWAY * torch.randn(_FAR, points.shape[-1], generator=torch.Generator().manual_seed(0))
        ends = _Ended.none(
            torch.cat(
                [
                    points.gather(0, order.indices[..., None].expand(-1, -1, points.shape[-1])),
                    far[:, None].to(points).expand(-1, points.shape[1], -1),
                ]
            )
        )
        whether = torch.cat([order.values.isfinite(), order.values[:1].isfinite().expand(_FAR, -1)])
        if not self._steps:
            whether[1:] = False
        for ranks in chunks(len(whether), _DESCENTS):
            rank, number = whether[ranks].nonzero().T
            if len(number):
                lanes = rank + ranks.start, number
                ends.put(lanes, self._minimised(number, ends.points[lanes], mean[number], enough[number]))
            if ranks.start == 0 and self._held is None:  # of many constants two of three may agree
                whether &= self._apart(ends, mean, enough) > 0
        apart = self._apart(ends, mean, enough)
        best = ends.judged.argmin(0)
        ended, names = ends.at((best, self._numbers)), list(starts)
        begun = [
            names[int(order.indices[rank, i])] if rank < len(names) else f"far {rank - len(names)}"
            for i, rank in enumerate(int(one) for one in best)
        ]
        return self._chosen(ended, self._finished(ended, enough), apart, begun, starts, plain)

    def _at(self, points: Tensor) -> Values:
        return self._space.values(self._numbers, points)

    def _apart(
        self, ends: _Ended, mean: Float[Tensor, "component number"], enough: Float[Tensor, "component"]
    ) -> Float[Tensor, "component"]:
        """Returns how far the second best end of each component is above the best, 0 where these two agree.

        They do where the difference and its standard error are together below a hundredth of the gain over the mean:
        other minima differ example by example even if they are as low. So they do where nothing is to be gained.
        """
        if len(ends.judged) < 2:
            return torch.zeros_like(enough)
        judged, which = (one[:2] for one in ends.judged.sort(dim=0, stable=True))
        best, second = (self._all.each(self._numbers, self._at(ends.points[one, self._numbers])) for one in which)
        gain = self._all.each(self._numbers, self._at(mean)) - best
        some = gain.mean(1) > _ERRORS * _error(gain)
        gap = second.mean(1) - best.mean(1)
        settled = gap + _error(second - best) <= torch.maximum(UNDECIDED * gain.mean(1), enough)
        return torch.where(some & ~settled & judged[1].isfinite(), gap, 0.0)

    def _minimised(self, numbers: Tensor, points: Tensor, mean: Tensor, enough: Tensor) -> _Ended:
        """Returns where descents end; those that come to fit noise, where held-out examples are best."""
        objective = self._objective(self._fit, numbers)
        watch = None if self._held is None else _Watch(self._held, self._space, numbers, points, mean)
        found = minimise(objective, points, steps=self._steps, first=self._rate, enough=enough, watch=watch)
        if watch is None:
            agreed = torch.ones(len(numbers), dtype=torch.bool)
            return _Ended(found.points, found.values.double(), found.left, found.steps, agreed)
        agreed = ~watch.worse(torch.arange(len(numbers)), found.points)
        ends = torch.where(agreed[:, None], found.points, watch.points)
        judged = self._all.losses(numbers, self._space.values(numbers, ends))
        return _Ended(ends, judged, torch.where(agreed, found.left, 0.0), found.steps, agreed)

    def _objective(self, scored: Scored, numbers: Tensor) -> Objective:
        return lambda lanes, at: scored.slopes(numbers[lanes], at, self._space)

    def _finished(self, ended: _Ended, enough: Tensor) -> _Ended:
        """Returns where descents end on all examples, of those that did not come to fit noise."""
        lanes = ended.agreed.nonzero()[:, 0]
        if not len(lanes):
            return ended
        found = minimise(
            self._objective(self._all, lanes), ended.points[lanes], steps=self._steps, first=self._rate,
            enough=_LAST * enough[lanes],
        )  # fmt: skip
        points, left, steps = ended.points.clone(), ended.left.clone(), ended.steps.clone()
        points[lanes], left[lanes], steps[lanes] = found.points, found.left, steps[lanes] + found.steps
        return replace(ended, points=points, left=left, steps=steps)

    def _chosen(
        self,
        ended: _Ended,
        finished: _Ended,
        apart: Float[Tensor, "component"],
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
            [float(one) for one in torch.where(better, torch.maximum(finished.left, apart), finished.left)],
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
        return -differences.mean(1) > limit * _error(differences)


@dataclass(frozen=True)
class _Ended:
    """Where descents ended: the loss on all examples, what is left, steps."""

    points: Tensor
    judged: Tensor
    left: Tensor
    steps: Tensor
    agreed: Tensor
    """Whether no held-out examples are worse where it ended than before."""

    @classmethod
    def none(cls, points: Float[Tensor, "start component number"]) -> _Ended:
        """Returns those of descents that have not begun."""
        shape = points.shape[:2]
        return cls(
            points,
            torch.full(shape, torch.inf, dtype=torch.float64),
            torch.zeros(shape, dtype=torch.float64),
            torch.zeros(shape, dtype=torch.int64),
            torch.zeros(shape, dtype=torch.bool),
        )

    def at(self, lanes: tuple[Tensor, Tensor]) -> _Ended:
        """Returns some of them."""
        return _Ended(*(one[lanes] for one in self._all))

    def put(self, lanes: tuple[Tensor, Tensor], ended: _Ended) -> None:
        """Puts others in the place of some of them."""
        for mine, other in zip(self._all, ended._all, strict=True):
            mine[lanes] = other

    @property
    def _all(self) -> tuple[Tensor, ...]:
        return self.points, self.judged, self.left, self.steps, self.agreed


class _Watch:
    """Keeps the points of descents where held-out examples are best, and ends those that are worse since long.

    A loss is worse where this is of note: by more than two standard errors of the paired difference, and by more than a
    hundredth of what was gained over the mean.
    """

    def __init__(self, held: Scored, space: _Space, numbers: Tensor, points: Tensor, mean: Tensor) -> None:
        self._held, self._space, self._numbers = held, space, numbers
        self.points = points.clone()
        self._best = held.each(numbers, space.values(numbers, points))
        self._mean = held.losses(numbers, space.values(numbers, mean))
        self._since = torch.zeros(len(numbers), dtype=torch.int64)

    def __call__(self, lanes: Tensor, points: Tensor) -> Bool[Tensor, "lane"]:
        """Returns which of the lanes end."""
        each = self._each(lanes, points)
        better = each.mean(1) < self._best[lanes].mean(1)
        self._best[lanes] = torch.where(better[:, None], each, self._best[lanes])
        self.points[lanes] = torch.where(better[:, None], points, self.points[lanes])
        self._since[lanes] = torch.where(better, 0, self._since[lanes] + 1)
        return (self._since[lanes] >= _PATIENCE) & self._is_worse(lanes, each)

    def worse(self, lanes: Tensor, points: Tensor) -> Bool[Tensor, "lane"]:
        """Returns which points are worse than the best of their descents."""
        return self._is_worse(lanes, self._each(lanes, points))

    def _each(self, lanes: Tensor, points: Tensor) -> Float[Tensor, "lane example"]:
        numbers = self._numbers[lanes]
        return self._held.each(numbers, self._space.values(numbers, points))

    def _is_worse(self, lanes: Tensor, each: Float[Tensor, "lane example"]) -> Bool[Tensor, "lane"]:
        best = self._best[lanes]
        worse, gain = each - best, self._mean[lanes] - best.mean(1)
        return worse.mean(1) > torch.maximum(_ERRORS * _error(worse), UNDECIDED * gain)


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


def _error(each: Float[Tensor, "lane example"]) -> Float[Tensor, "lane"]:
    """Returns the standard errors of means over examples, 0 for one example."""
    n = each.shape[1]
    return each.std(1) / n**0.5 if n > 1 else each.new_zeros(len(each))


def _repeated(losses: Float[Tensor, "start component"]) -> Bool[Tensor, "start component"]:
    """Returns which starts are as good, to the bit, as one before: the same constant, as of units that are off."""
    same = losses[:, None] == losses
    return torch.stack([same[start, :start].any(0) for start in range(len(losses))])
