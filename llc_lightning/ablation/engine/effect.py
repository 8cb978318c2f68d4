"""What a sweep hands back, and how values per example become it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float
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

    def effects(self, series: Iterable[Effect], *, doubted: bool = False) -> Iterator[list[Effect]]:
        """Yields for every series one effect per loss, with what was measured.

        Args:
            series: What is known of each before.
            doubted: Whether to say where the examples are too few for the standard errors.
        """
        results = [moments.results() for moments in self._moments]
        counts, means, errors, skews = (torch.cat([result[i] for result in results], dim=-1) for i in range(4))
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
        few = _too_few(counts, skews) if doubted else torch.zeros_like(skews, dtype=torch.bool)
        told: list[Any] = [counts[0], means, errors, skews, few]
        numbers, *rows = (one.tolist() for one in told)
        for i, (one, *of_series) in enumerate(zip(series, *rows, strict=True)):
            effects = [
                one.changed(loss=name, skew=skew, **_judged(value, stderr, int(number), too_few))
                for name, number, value, stderr, skew, too_few in zip(self._names, numbers, *of_series, strict=True)
            ]
            if kept is not None:
                for j, k in at.items():
                    influences = None if moved is None else moved[i, :, k]
                    effects[j] = effects[j].changed(per_example=kept[i, :, k], influences=influences)
            yield effects


def _too_few(counts: Float[Tensor, "1 loss"], skews: Float[Tensor, "series loss"]) -> Bool[Tensor, "series loss"]:
    """Says where normal errors mislead, of what has an error at all."""
    return (counts > 1) & ((counts < _FEWEST) | (skews.square() > _SKEWED))


def _judged(value: float, stderr: float, n: int, too_few: bool) -> dict[str, Any]:
    """Returns what to say of a mean and its error."""
    if math.isfinite(value) and n > 1:
        return {"value": value, "stderr": stderr, "n": n, "status": _status(OK, too_few)}
    if n == 0:
        return {"value": math.nan, "stderr": math.nan, "n": n, "status": "no-examples"}
    if not math.isfinite(value):
        return {"value": math.nan, "stderr": math.nan, "n": n, "status": _status("nan-loss", too_few)}
    return {"value": value, "stderr": math.nan, "n": n, "status": "one-example"}


@cache
def _status(reason: str, too_few: bool) -> str:
    return join([reason, *(["too-few-examples"] if too_few else [])])
