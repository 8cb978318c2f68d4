"""What a sweep hands back, and how values per example become it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.influence import Donors, Entries, Influences
from llc_lightning.ablation.engine.moments import Counted, Moments
from llc_lightning.runtime.status import OK, join

_SKEWED = 1 / 15
"""Largest squared skewness of a mean, that of one example squared over n: beyond, +- 1.96 standard errors cover less
than 93 % of simulated data sets of lognormal, sparse or fourth-power effects (``python -m benchmarks coverage``)."""
_FEWEST = 16
"""Of fewer examples they cover less than 93 % of normal effects too, by Student's distribution."""


@dataclass(frozen=True)
class Effect:
    """One measured value of a sweep: the effect of an ablation on one loss, or the unablated loss."""

    quantity: str
    """``ablation_effect``, or ``loss`` for the unablated loss."""
    component: str = ""
    """The component's address; '' for the unablated loss, like ``kind`` and ``method``."""
    kind: str = ""
    method: str = ""
    draws: int = 0
    vmapped: bool = True
    """Whether ablations shared a forward pass; False for a module that vmap refuses."""
    loss: str = "train"
    """``train``, the name of a task, or ``metric:NAME``."""
    value: float = math.nan
    """Mean over the examples that count, in nats per example or whatever the unit of the loss is; NaN where failed."""
    stderr: float = math.nan
    """SD / sqrt(n) of the influences of the examples: of the paired differences, averaged over draws, and of what an
    example adds where its activation takes the place of others' or enters a mean."""
    n: int = 0
    """Examples that count."""
    status: str = "ok"
    per_example: Float[Tensor, "example"] | None = field(default=None, compare=False, repr=False)
    """What is averaged, example by example, NaN where it does not count; kept where asked for, not on tasks."""
    influences: Float[Tensor, "example"] | None = field(default=None, compare=False, repr=False)
    """Around 0, with ``stderr`` as their SD / sqrt(n); kept as ``per_example`` is where the two differ."""
    skew: float = field(default=math.nan, compare=False, repr=False)
    """Skewness of the mean of the influences: that of one example over sqrt(n)."""
    details: Mapping[str, float | str] = field(default_factory=dict[str, "float | str"])
    """What else is known: of a fitted method how far its constant lies from the mean."""
    constants: tuple[Tensor, ...] = field(default=(), compare=False, repr=False)
    """The constants of a fitted method, one tensor for each hook point."""

    def changed(self, **fields: Any) -> Effect:
        """Returns the same with other fields: ``dataclasses.replace`` in a fifth of the time, for thousands of rows."""
        other = object.__new__(Effect)
        vars(other).update(vars(self), **fields)
        return other


@dataclass(frozen=True)
class Outcome:
    """What one ablation does to some losses: one effect for each of them."""

    common: Effect
    """What the effects have in common; its other fields stand for nothing."""
    columns: Mapping[str, Sequence[Any]]
    """The fields of ``BY_LOSS``, loss by loss."""

    def __len__(self) -> int:
        """Returns the number of losses."""
        return len(self.columns["loss"])

    def at(self, places: Sequence[int]) -> Outcome:
        """Returns what it does to some of the losses, in the order of their places."""
        columns = {name: [values[place] for place in places] for name, values in self.columns.items()}
        return Outcome(self.common, columns)

    @property
    def effects(self) -> list[Effect]:
        """The effects, made anew."""
        each = zip(*self.columns.values(), strict=True)
        return [self.common.changed(**dict(zip(self.columns, values, strict=True))) for values in each]


BY_LOSS = ("loss", "n", "value", "stderr", "skew", "status", "per_example", "influences")
"""The fields of an effect that differ between the losses that one ablation is measured on."""


class Effects(Sequence[Effect]):
    """Effects, kept ablation by ablation: a table of thousands is made without them, and they when one is asked for.

    Args:
        outcomes: The effects of each ablation.
    """

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self.outcomes = tuple(outcomes)

    def column(self, name: str) -> list[Any]:
        """Returns one field of every effect."""
        if name in BY_LOSS:
            return [value for outcome in self.outcomes for value in outcome.columns[name]]
        return [value for one in self.outcomes for value in [getattr(one.common, name)] * len(one)]

    @cached_property
    def _made(self) -> list[Effect]:
        return [effect for outcome in self.outcomes for effect in outcome.effects]

    def __len__(self) -> int:
        """Returns their number."""
        return sum(map(len, self.outcomes))

    @overload
    def __getitem__(self, at: int) -> Effect: ...
    @overload
    def __getitem__(self, at: slice) -> list[Effect]: ...
    def __getitem__(self, at: int | slice) -> Effect | list[Effect]:
        """Returns one of them, or some."""
        return self._made[at]

    def __iter__(self) -> Iterator[Effect]:
        """Returns them one after the other."""
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        """Says whether others are the same."""
        return isinstance(other, Sequence) and self._made == list(cast("Sequence[Effect]", other))

    __hash__ = None  # pyright: ignore[reportAssignmentType] - as of a list


def warm_start(effects: Sequence[Effect]) -> dict[str, tuple[Tensor, ...]]:
    """Returns the constants of fitted methods among effects, for ``sweep(warm=...)`` at the next snapshot."""
    return {warm_key(one.component, one.method, one.loss): one.constants for one in effects if one.constants}


def warm_key(component: str, method: str, loss: str) -> str:
    """Returns the name of a constant in ``sweep(warm=...)``."""
    return f"{component} {method} {loss}"


class Summary:
    """Collects values per example of several series (components), block by block, on ``train`` and on the tasks.

    Args:
        names: The losses: ``train``, the tasks, then the metrics.
        n: The number of examples.
        keep: Whether to keep the values of every example.
        metrics: How many of the losses are metrics.
        donors: Which examples gave the values that are put in, where any did.
        entries: Of every block where its changes stand, where there are donors.
        components: The number of series, where there are donors.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        n: int,
        keep: bool,
        metrics: int = 0,
        donors: Donors | None = None,
        entries: Sequence[Sequence[Entries]] = (),
        components: int = 0,
    ) -> None:
        self._names = names
        self._n = n
        tasks = len(names) - 1 - metrics
        groups = [1, *([tasks] if tasks else []), *([metrics] if metrics else [])]
        self._moments = tuple(Moments(errors=donors is None) for _ in groups)
        self._influences: tuple[Influences, ...] = ()
        if donors is not None:
            self._influences = tuple(
                Influences(donors, blocks, components=components, n=n) for blocks in zip(*entries, strict=True)
            )
        self._metrics = metrics
        self._kept: list[Tensor] | None = [] if keep else None

    def add(self, values: Sequence[Float[Tensor, "series _ _"]], counted: Sequence[Counted]) -> None:
        """Adds a block: packed values on ``train``, on the tasks and of the metrics, and which of them count."""
        for moments, value, count in zip(self._moments, values, counted, strict=True):
            moments.add(value, count.mask)
        if self._kept is not None:
            some = [(values[0], counted[0]), *([(values[-1], counted[-1])] if self._metrics else [])]
            self._kept.append(torch.cat([value.masked_fill(~count.mask, torch.nan) for value, count in some], dim=-1))

    def own(self, entries: Sequence[Entries], changes: Sequence[Float[Tensor, "series _ _"]]) -> None:
        """Tells how the losses of a block changed, summed over draws, where it is donors' doing."""
        for influences, where, change in zip(self._influences, entries, changes, strict=False):
            influences.add(where, change)

    def given(
        self,
        entries: Sequence[Entries],
        changes: Sequence[Float[Tensor, "some _ _"]],
        *,
        draw: int,
        components: slice,
    ) -> None:
        """Tells what one draw did to a block, where it is donors' doing (:meth:`Influences.give`)."""
        for influences, where, change in zip(self._influences, entries, changes, strict=False):
            influences.give(where, change, draw=draw, components=components)

    def effects(self, series: Iterable[Effect], *, doubted: bool = False) -> Iterator[Outcome]:
        """Yields for every series its effects, one per loss, with what was measured.

        Args:
            series: What is known of each before.
            doubted: Whether to say where the examples are too few for the standard errors.
        """
        results = [moments.results() for moments in self._moments]
        counts, means, errors, skews = (torch.cat([result[i] for result in results], dim=-1).cpu() for i in range(4))
        # On train and of metrics alone, which are the last.
        at = {0: 0} | {len(self._names) - self._metrics + j: 1 + j for j in range(self._metrics)}
        kept = None if self._kept is None else torch.cat(self._kept, dim=1)[:, : self._n].cpu()
        moved: Tensor | None = None
        if self._influences:
            of_kept = {0, len(results) - 1} if self._metrics else {0}
            found = [
                one.results(means, kept=kept is not None and group in of_kept)
                for group, (one, (_, means, *_)) in enumerate(zip(self._influences, results, strict=True))
            ]
            errors, skews = (torch.cat(some, dim=-1) for some in ([one[0] for one in found], [one[1] for one in found]))
            if kept is not None:
                some = [found[0][2], *([found[-1][2]] if self._metrics else [])]
                moved = torch.cat([one for one in some if one is not None], dim=-1)
        judged = _judged(means, errors, skews, counts, doubted=doubted)
        numbers, *measured = map(_listed, (counts[0].long(), *judged, skews))
        without = [None] * len(self._names)
        for i, (one, value, stderr, status, skew) in enumerate(zip(series, *measured, strict=True)):
            per_example, influences = (
                without if some is None else [some[i, :, at[j]] if j in at else None for j in range(len(self._names))]
                for some in (kept, moved)
            )
            said: list[str] = [_STATUSES[which] for which in status]
            columns = (self._names, numbers, value, stderr, skew, said, per_example, influences)
            yield Outcome(one, dict(zip(BY_LOSS, columns, strict=True)))


def _listed(values: Tensor) -> list[Any]:
    untyped: Any = values
    return untyped.tolist()


def _judged(
    means: Float[Tensor, "series loss"],
    errors: Float[Tensor, "series loss"],
    skews: Float[Tensor, "series loss"],
    counts: Float[Tensor, "1 loss"],
    *,
    doubted: bool,
) -> tuple[Float[Tensor, "series loss"], Float[Tensor, "series loss"], Int[Tensor, "series loss"]]:
    """Returns the means and errors that there are, NaN else, and what to say of each (``_STATUSES``)."""
    finite = means.isfinite()
    # Normal errors mislead of what has an error at all.
    few = (counts > 1) & ((counts < _FEWEST) | (skews.square() > _SKEWED)) & doubted
    status = torch.where(finite, torch.where(counts > 1, 0, 4), torch.where(counts > 0, 2, 5)) + few.long()
    values = means.where(finite, torch.nan)
    return values, errors.where(finite & (counts > 1), torch.nan), status


_DOUBTED = "too-few-examples"
_STATUSES = (OK, _DOUBTED, "nan-loss", join(["nan-loss", _DOUBTED]), "one-example", "no-examples")
"""What is said of means, those of too few examples behind those of others."""
