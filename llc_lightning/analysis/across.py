"""What several runs say together: of the same net on several seeds, and of different nets."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
from scipy import special

from llc_lightning.analysis import table
from llc_lightning.analysis.association import Association, associations
from llc_lightning.analysis.collapse import Collapse, collapse, shared_steps
from llc_lightning.analysis.phases import Dated, Led, dated, led
from llc_lightning.analysis.scores import Found, found_by, scores
from llc_lightning.analysis.shifts import Shift, shifts
from llc_lightning.analysis.table import Measured
from llc_lightning.runtime.errors import DataError

T = TypeVar("T")
_PERMUTATIONS = 999


@dataclass(frozen=True)
class Measurements:
    """What was measured of one run."""

    name: str
    net: str
    """What runs that differ in the seed alone have in common."""
    rows: pd.DataFrame = field(repr=False)
    truth: Mapping[str, bool] = field(default_factory=dict[str, bool], repr=False)
    """Whether a component matters, by its address; empty where that is not known."""


@dataclass(frozen=True)
class Over:
    """A number over runs."""

    mean: float
    low: float
    high: float
    """Ends of its interval: Student's t over runs; of a single run that of its own error, NaN where it has none."""
    runs: int

    def __str__(self) -> str:
        """Writes the mean with its interval and the number of runs."""
        if not np.isfinite(self.mean):
            return "no value"
        if not np.isfinite(self.low) or self.low == self.high:
            return f"{self.mean:.3g} ({'1 run' if self.runs == 1 else f'{self.runs} runs alike'})"
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def over(values: Iterable[Measured | float], level: float = table.LEVEL, *, chains: int = 0) -> Over:
    """Returns the mean of finite values with its interval.

    Args:
        values: One for each run.
        level: Probability of the interval.
        chains: That the error of a single run is estimated from, as of ``table.half_width``.

    Example:
        >>> print(over([1.0, 2.0, 3.0]), over([Measured(2.0, 0.1)]))
        2 [-0.484, 4.48] 2 [1.8, 2.2]
    """
    told = [one if isinstance(one, Measured) else Measured(one, float("nan")) for one in values]
    told = [one for one in told if np.isfinite(one.value)]
    upper, nan = (1 + level) / 2, float("nan")
    if not told:
        return Over(nan, nan, nan, 0)
    every = np.array([one.value for one in told])
    mean = float(every.mean())
    if len(told) == 1:
        reach = float(table.half_width(np.array([told[0].stderr]), np.array([float(chains)]), level)[0])
    else:
        reach = float(special.stdtrit(len(told) - 1, upper)) * float(every.std(ddof=1)) / np.sqrt(len(told))
    return Over(mean, mean - reach, mean + reach, len(told))


@dataclass(frozen=True)
class ByRun(Generic[T]):
    """The same finding of several runs of one net."""

    net: str
    key: tuple[str, ...]
    """What the finding is of, such as a score or a method."""
    found: tuple[T, ...]
    asked: int = 0
    """Runs of the net, with this finding or without."""
    runs: tuple[str, ...] = ()
    """The runs that these are of, by name."""

    def over(
        self,
        number: Callable[[T], Measured | float],
        level: float = table.LEVEL,
        *,
        chains: Callable[[T], int] = lambda _: 0,
        own: Callable[[T], tuple[float, float]] | None = None,
    ) -> Over:
        """Returns one of its numbers over the runs.

        Args:
            number: The number.
            level: Probability of the interval.
            chains: That a single run's error is estimated from.
            own: The interval of a single run, where it has one of its own.
        """
        told = [(number(one), chains(one)) for one in self.found]
        known = [by for one, by in told if np.isfinite(one.value if isinstance(one, Measured) else one)]
        found = over([one for one, _ in told], level, chains=min(known, default=0))
        first, *others = self.found
        if own is None or found.runs != 1 or others:
            return found
        low, high = own(first)
        return Over(found.mean, low, high, 1)


def shifts_over(runs: Sequence[Measurements]) -> list[ByRun[Shift]]:
    """Returns how every method changes the LLC, by net, kind, method and resolution."""

    def key(one: Shift) -> tuple[str, ...]:
        return one.kind, one.method, f"{one.n_beta:g}, {one.gamma:g}"

    return _by_run(runs, lambda run: shifts(run.rows), key)


def collapses_over(runs: Sequence[Measurements], level: float = table.LEVEL) -> list[ByRun[Collapse]]:
    """Returns what every method's effect explains of wrLLC at the last step, by net, kind, method and step."""

    def found(run: Measurements) -> list[Collapse]:
        last = shared_steps(run.rows)[:1]
        return collapse(run.rows, step=last[0], level=level) if last else []

    return _by_run(runs, found, lambda one: (one.kind, one.method, str(one.step)))


def associations_over(runs: Sequence[Measurements], level: float = table.LEVEL) -> list[ByRun[Association]]:
    """Returns the rank correlation of every two scores at the last step, by net, scores, step and rung.

    The rung is the nearest to the matched resolution, matched or not.
    """

    def found(run: Measurements) -> list[Association]:
        last = shared_steps(run.rows)[:1]
        one = associations(run.rows, step=last[0], level=level, permutations=_PERMUTATIONS) if last else None
        return list(one.pairs) if one else []

    def key(one: Association) -> tuple[str, ...]:
        return one.llc, one.method, str(one.step), f"n_beta {one.rung.n_beta:g}, gamma {one.rung.gamma:g}"

    return _by_run(runs, found, key)


def found_over(runs: Sequence[Measurements], level: float = table.LEVEL) -> list[ByRun[Found]]:
    """Returns how well every score finds what matters, by net and score, at every rung; of runs with a truth alone."""

    def found(run: Measurements) -> list[tuple[str, Found]]:
        if len({*run.truth.values()}) < 2:
            return []
        every = table.select(run.rows, quantity="llc")
        own = every.loc[np.asarray(every["component"].str.replace(_SIDE, "", regex=True).isin(run.truth), dtype=bool)]
        if not len(own):
            return []
        step = table.steps(own)[-1]
        own = table.select(own, step=step)
        kind = next(iter(sorted(table.distinct(own, "kind") - {"incoming", "outgoing"})), None)
        rungs = sorted({*zip(table.numbers(own, "n_beta"), table.numbers(own, "gamma"), strict=True)})
        told: list[tuple[str, Found]] = []
        for n_beta, gamma in rungs:
            scored = scores(run.rows, step=step, n_beta=float(n_beta), gamma=float(gamma), kind=kind)
            for one in found_by(scored, run.truth, level=level):
                told.append((_rung(table.select(scored, score=one.score)), one))
        return [*dict.fromkeys(told)]

    every = _by_run(runs, found, lambda one: (one[1].score, one[0]))
    return [ByRun(one.net, one.key, tuple(pair[1] for pair in one.found)) for one in every]


_SIDE = ":(in|out)$"


def _rung(scored: pd.DataFrame) -> str:
    """Returns the resolution of a score; '' for one that has none."""
    n_beta, gamma = (float(table.numbers(scored, name)[0]) for name in ("n_beta", "gamma"))
    return "" if np.isnan(n_beta) else f"n_beta {n_beta:g}, gamma {gamma:g}"


def dated_over(runs: Sequence[Measurements], level: float = table.LEVEL) -> list[tuple[Measurements, Dated]]:
    """Returns when every run changes, by every view that was measured.

    Raises:
        DataError: If a run measured something under several settings.
    """
    return [(run, one) for run in runs for one in _told_of(run, lambda run: dated(run.rows, level=level))]


def led_over(
    runs: Sequence[Measurements], level: float = table.LEVEL, *, kind: str | None = None
) -> list[tuple[Measurements, Led]]:
    """Returns both phase times of every component, of every run in which it can be dated, by its largest rung."""
    told: list[tuple[Measurements, Led]] = []
    for run in runs:
        llc = table.restricted_llc(run.rows, kind=kind)
        if not len(llc):
            continue
        gamma = float(table.numbers(llc, "gamma").max())
        n_beta = float(table.numbers(table.select(llc, gamma=gamma), "n_beta").max())
        told += [(run, one) for one in led(run.rows, n_beta=n_beta, gamma=gamma, kind=kind, level=level)]
    return told


def _by_run(
    runs: Sequence[Measurements], find: Callable[[Measurements], Sequence[T]], key: Callable[[T], tuple[str, ...]]
) -> list[ByRun[T]]:
    """Returns findings of the same net and key together, in the order in which they first come."""
    together: dict[tuple[str, tuple[str, ...]], list[tuple[str, T]]] = {}
    for run in runs:
        for one in _told_of(run, find):
            together.setdefault((run.net, key(one)), []).append((run.name, one))
    asked = Counter(run.net for run in runs)
    return [
        ByRun(net, of, tuple(one for _, one in found), asked[net], tuple(name for name, _ in found))
        for (net, of), found in together.items()
    ]


def _told_of(run: Measurements, find: Callable[[Measurements], Sequence[T]]) -> Sequence[T]:
    """Returns what is found in a run; an error says in which."""
    try:
        return find(run)
    except DataError as error:
        raise DataError(f"{run.name}: {error}") from error
