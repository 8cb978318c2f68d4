"""Optimal ablation: the constant under which the network does best without the component."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, checked_positions
from llc_lightning.ablation.engine.blocks import Blocks, Split, split_examples
from llc_lightning.ablation.engine.effect import warm_key
from llc_lightning.ablation.engine.lanes import losses_of
from llc_lightning.ablation.engine.moments import mean_over_examples, sd_over_examples
from llc_lightning.ablation.engine.place import Place, Replacement
from llc_lightning.ablation.engine.replacing import Fitted, Fitting, Replacing, Source
from llc_lightning.runtime.batches import chunks, take
from llc_lightning.runtime.errors import SettingError

Values = tuple[Float[Tensor, "component row *few"], ...]
"""For every place one value for each component, with a row axis of length 1."""

_LOOKS = 5
"""How often they judge the optimiser's constants."""
_SINGLES = 8
"""Sets of up to so many units also start from the constants that their units have alone."""
_LEAST = 0.1
"""The least spread of a unit, in units of the root mean square of its component: one that is constant can move too."""


@METHODS.register(
    "optimal", summary="replaces the activation by the constant that hurts least", source="Li and Janson 2024, "
    "arXiv:2409.09951", also=("oa", "constant"), constant=True, needs_reference=True,
    needs_partner=False, whole=False, draws=1,
)  # fmt: skip
@dataclass(frozen=True)
class Optimal(Fitted):
    """Replaces the activation by ``a* = argmin_a E[L(h <- a)]``, so that the effect counts what the component tells.

    Any other constant, and any activation of another example, also misleads the rest of the network: its effect is
    larger. All components of a group are fitted at once, each in lanes of its own, and all units of a set together, by
    Adam on one half of the examples. A quarter selects the best of what was met: zero, the mean, the constant shared by
    all positions, the constants of a set's units alone, a warm start, and the optimiser's own. The effect is measured
    on the last quarter, which takes part in neither, so that it is free of the bias of a minimum told by the examples
    that chose it. ``optimal <= zero, mean, resample`` and ``own <= pooled`` hold up to the error of the choice.

    The details of an effect are ``start``, the constant that the optimiser began with; ``drift``, the distance of the
    constant from the mean over the size of the mean; and ``drift_sd``, the same in standard deviations of the
    activation.
    """

    positions: str = "own"
    """``own``: a constant for each position (pixel); ``pooled``: one for all of them, which is an edit of the
    weights."""
    losses: str = "train"
    """``train``: the constant that is best for the training loss, measured on all losses; ``each``: another constant
    for each task, best for it."""
    steps: int = 150
    """Steps of the optimiser, for each constant."""
    rate: float = 0.3
    """Its first learning rate, in standard deviations of the activation; falls to 0 along a half cosine."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        checked_positions(self.positions)
        if self.losses not in ("train", "each"):
            raise SettingError(f"losses is {self.losses!r}; use 'train' or 'each'.")
        if self.steps < 0 or not (self.rate > 0 and math.isfinite(self.rate)):
            raise SettingError(
                f"steps is {self.steps} and rate {self.rate}; give whole steps from 0 and a positive rate."
            )

    def fit(self, fitting: Fitting) -> list[Source]:
        """Returns the constants of all components, for all losses or for each, and what they are measured on."""
        examples = fitting.group.examples
        split = split_examples(examples.blocks.n, seed=fitting.group.seed)
        names = examples.names
        columns = list(range(len(names) - len(examples.metrics))) if self.losses == "each" else [0]
        counts = examples.broken.clone()  # a fit without examples whose loss is no number must not hide them
        counts[split.score] = True
        sources: list[Source] = []
        for column in columns:
            # The best constants for the training loss are among those for a task.
            known = {"train": sources[0].constants} if column else {}
            search = _Search(self, fitting, split, column, known)
            values = search.best()
            losses = None if len(columns) == 1 else (column,)
            if column == 0 and len(columns) > 1:
                losses = (0, *range(len(columns), len(names)))
            details = tuple(search.details(values))
            sources.append(Source(self, constants=values, losses=losses, counts=counts, details=details))
        return sources


class _Search:
    """The search for the constants that are best for one loss."""

    def __init__(
        self, method: Optimal, fitting: Fitting, split: Split, column: int, known: Mapping[str, Values]
    ) -> None:
        self.method, self.column, self._known = method, column, known
        self.group = fitting.group.fitting(with_tasks=column > 0)
        self._split = split
        self.seen = [
            Activations(one.activation[split.fit.to(one.activation.device)], one.unit_axis) for one in fitting.seen
        ]
        self._fit = _Data(self.group, split.fit, column, method.steps)
        self._judge = _Data(self.group, split.select, column, method.steps)
        self.means = tuple(
            _restricted(place, mean_over_examples(seen.activation), seen) for place, seen in self._places()
        )
        self.scales = tuple(_spread(place, seen) for place, seen in self._places())
        self._start: list[str] = []

    def _places(self) -> Iterator[tuple[Place, Activations]]:
        return zip(self.group.places, self.seen, strict=True)

    def best(self) -> Values:
        """Returns for every component the best constant that was met, by the loss on the examples that select."""
        best = _Best(self._judge)
        own = self.method.positions == "own" and any(seen.positions for seen in self.seen)
        for name, values in self._starts().items():
            best.offer(name, values if own else self._pooled(values))
        if own:
            shared = _Best(self._judge)
            for name, values in self._starts().items():
                shared.offer(name, self._pooled(values))
            self._descend(shared, pooled=True)
            best.offer("pooled", shared.values)
        self._start = list(best.names)
        self._descend(best, pooled=not own)
        return best.values

    def _starts(self) -> dict[str, Values]:
        """Returns the constants to begin from, by name."""
        starts = {"zero": tuple(torch.zeros_like(mean) for mean in self.means), "mean": self.means, **self._known}
        alone = self._alone
        if alone is not None:
            starts["alone"] = alone
        loss = self.group.examples.names[self.column]
        keys = [warm_key(component.address, self.method.name, loss) for component in self.group.components]
        warm = [self.group.warm.get(key) for key in keys]
        if any(constants is not None for constants in warm):
            starts["warm"] = tuple(
                torch.stack([mean[i] if known is None else known[at].to(mean) for i, known in enumerate(warm)])
                for at, mean in enumerate(self.means)
            )
        return starts

    @cached_property
    def _alone(self) -> Values | None:
        """Returns the constants that the parts of a component have alone; None for components without small parts."""
        places = self.group.places
        if len(places) != 1:
            alone = [self._within(place, self.group.alone(at)) for at, place in enumerate(places)]
            return tuple(values for (values,) in alone)
        units = places[0].units
        if units is None or not 1 < units.shape[1] <= _SINGLES:
            return None
        (singles,) = self._within(places[0], self.group.singles())
        axis = singles.ndim + places[0].unit_axis
        n_components, n_units = units.shape
        by_component = singles.reshape(n_components, n_units, *singles.shape[1:])
        return (torch.cat([by_component[:, unit] for unit in range(n_units)], dim=axis),)

    def _within(self, place: Place, group: Replacing) -> Values:
        # The activations of all examples again, since a search takes its own part of them.
        whole = group.examples.seen(place.point, place.unit_axis, [self.method])
        return _Search(self.method, Fitting(group, (whole,)), self._split, self.column, {}).best()

    def _pooled(self, values: Values) -> Values:
        """Returns constants with their mean over positions at every position."""
        return tuple(
            _over(value, seen).expand_as(value) for value, (_, seen) in zip(values, self._places(), strict=True)
        )

    def _descend(self, best: _Best, *, pooled: bool) -> None:
        """Improves on the best constants by Adam, offering what it meets."""
        method, base, scales = self.method, best.values, self.scales
        if pooled:
            scales = tuple(_over(scale, seen) for scale, (_, seen) in zip(scales, self._places(), strict=True))
        free = [torch.zeros_like(scale, requires_grad=True) for scale in scales]
        optimizer = torch.optim.Adam(free, lr=method.rate, betas=(0.9, 0.99))

        def values(some: slice = slice(None)) -> Values:
            terms = zip(base, scales, free, strict=True)
            return tuple(start[some] + scale[some] * moved[some] for start, scale, moved in terms)

        for step in range(method.steps):
            for group in optimizer.param_groups:
                group["lr"] = method.rate * 0.5 * (1 + math.cos(math.pi * step / method.steps))
            optimizer.zero_grad()
            self._fit.backward(step % len(self._fit), values)
            for one in free:
                if one.grad is not None:  # a lane whose loss is not finite must not move the optimiser of the others
                    one.grad.nan_to_num_(0.0, 0.0, 0.0)
            optimizer.step()  # pyright: ignore[reportUnknownMemberType]
            if (step + 1) % max(1, method.steps // _LOOKS) == 0 or step + 1 == method.steps:
                with torch.no_grad():
                    best.offer(f"step {step + 1}", values())

    def details(self, values: Values) -> Iterator[dict[str, float | str]]:
        """Yields for every component where its search began and how far it ended from the mean."""
        for number, start in enumerate(self._start):
            apart, size, spread = (
                torch.cat([values[number].double().flatten() for values in some])
                for some in ([a - b for a, b in zip(values, self.means, strict=True)], self.means, self.scales)
            )
            least = torch.finfo(torch.float32).tiny
            drift = float(apart.square().sum().sqrt() / size.square().sum().sqrt().clamp_min(least))
            yield {"start": start, "drift": drift, "drift_sd": float((apart / spread).square().mean().sqrt())}


class _Best:
    """The best constants so far of every component."""

    def __init__(self, judge: _Data) -> None:
        self._judge = judge
        self._losses: Tensor | None = None
        self.values: Values = ()
        self.names: list[str] = []

    def offer(self, name: str, values: Values) -> None:
        """Takes constants for the components that they serve better than those before."""
        losses = self._judge.losses(values)
        if self._losses is None:
            self._losses, self.values = losses, tuple(value.clone() for value in values)
            self.names = [name] * len(losses)
            return
        better = losses < self._losses
        self._losses = torch.where(better, losses, self._losses)
        self.values = tuple(
            torch.where(better.view(-1, *(1,) * (new.ndim - 1)), new, old)
            for new, old in zip(values, self.values, strict=True)
        )
        self.names = [name if won else old for won, old in zip(map(bool, better), self.names, strict=True)]


class _Data:
    """Some of the examples, and the loss of every component's constants on them."""

    def __init__(self, group: Replacing, rows: Int[Tensor, "example"], column: int, passes: int) -> None:
        self._group, self._column, self._passes = group, column, passes
        device = group.places[0].where.device
        data = take(group.examples.blocks.data, rows.to(device))
        self._blocks = Blocks.of(data, min(group.examples.blocks.size, Blocks.of(data).size))
        self._counts = [self._counted(block).to(device) for block in range(len(self._blocks))]
        numbers = torch.arange(len(group.components), device=device)
        self._chunks = [(some, group.aims(numbers[some])) for some in chunks(len(numbers), group.most)]

    def __len__(self) -> int:
        """Returns the number of blocks."""
        return len(self._blocks)

    def losses(self, values: Values) -> Float[Tensor, "component"]:
        """Returns the mean loss under every component's constants, infinite where it is not finite."""
        total = torch.zeros(len(self._group.components), dtype=torch.float64, device=self._counts[0].device)
        for block in range(len(self)):
            for some, aims in self._chunks:
                total[some] += self._sums(block, aims, tuple(value[some] for value in values)).double()
        count = sum(int(counts.sum()) for counts in self._counts)
        return (total / max(count, 1)).nan_to_num(torch.inf, torch.inf, torch.inf)

    def backward(self, block: int, values: Callable[[slice], Values]) -> None:
        """Adds the gradient of the mean loss of a block to what the values of some components are made of."""
        count = max(int(self._counts[block].sum()), 1)
        with torch.enable_grad():
            for some, aims in self._chunks:
                loss = self._sums(block, aims, values(some)).sum() / count
                if not loss.requires_grad:
                    raise SettingError(
                        "the loss has no gradient, which the ablation method 'optimal' follows; give a differentiable "
                        "loss, or use another method."
                    )
                loss.backward()  # pyright: ignore[reportUnknownMemberType]

    def _sums(self, block: int, aims: Sequence[Replacement], values: Values) -> Float[Tensor, "component"]:
        calls = self._passes * len(self._chunks)
        losses = self._group.run(self._blocks.batches[block], aims, values, calls=calls)
        column = losses[0][..., 0] if self._column == 0 else losses[1][..., self._column - 1]
        return torch.where(self._counts[block], column, 0).sum(-1)

    def _counted(self, block: int) -> Bool[Tensor, "row"]:
        """Returns which rows count for the loss."""
        real = self._blocks.real(block)
        if self._column == 0:
            return real
        examples = self._group.examples
        counted = losses_of(examples.loss, examples.params, self._blocks.batches[block], with_tasks=True).counted
        return real if counted is None else real & counted[:, self._column - 1].cpu()


def _over(values: Float[Tensor, "component row *few"], seen: Activations) -> Float[Tensor, "component row *pooled"]:
    """Returns the mean over positions."""
    axes = tuple(axis + 1 for axis in seen.positions)
    return values.mean(axes, keepdim=True) if axes else values


def _restricted(place: Place, values: Float[Tensor, "*unit"], seen: Activations) -> Float[Tensor, "component row *few"]:
    return place.compact(values.to(seen.activation.dtype)[None], slice(None))


def _spread(place: Place, seen: Activations) -> Float[Tensor, "component row *few"]:
    """Returns the standard deviation of the entries that each component replaces, positive."""
    spread = _restricted(place, sd_over_examples(seen.activation), seen)
    mean = _restricted(place, mean_over_examples(seen.activation), seen)
    size = (spread.square() + mean.square()).flatten(1).mean(1).sqrt()
    least = torch.where(size > 0, _LEAST * size, 1.0).view(-1, *(1,) * (spread.ndim - 1))
    return torch.maximum(spread, least).nan_to_num(1.0, 1.0, 1.0)
