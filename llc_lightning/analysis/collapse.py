"""How much of the spread of wrLLC an ablation effect explains at one resolution, by ablation method.

wrLLC rises with n_beta whatever the network is, so that a curve through several resolutions explains nearly all of it
by n_beta alone. What is told here is what the effect adds: the share of the variance of log wrLLC around the mean of
each n_beta that one smooth curve of n_beta x effect explains at one step, in its own deviations from these means, since
components share their random numbers, and with them an error that lifts all of a rung alike. Every component is held
against the curve through the others, so that the freedom of the curve explains nothing by chance. Errors of the chains
bound that share; the replicate of the estimates says by how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.curve import headline_points
from llc_lightning.analysis.monotone import MIN_POINTS, Monotone, fit_monotone
from llc_lightning.runtime.errors import DataError

_BOOTSTRAP = 1000


@dataclass(frozen=True)
class Collapse:
    """What one method's effect explains of wrLLC at one step."""

    step: int
    kind: str
    method: str
    points: int
    asked: int
    """Points at which wrLLC and the first method's effect were measured, ok and positive or not."""
    components: int
    n_beta_alone: float
    """Share of the variance of log wrLLC that n_beta alone explains."""
    within: float
    """Of what n_beta leaves, the share that the curve through the other components explains; by chance below 0."""
    low: float
    high: float
    """Ends of its interval, over resamples of the components with the curves held."""
    ranked: float
    """Rank correlation of wrLLC and effect within n_beta over all ok points, those at or below 0 too."""
    attainable: float
    """The share that is no error of the chains: the correlation with the replicate within n_beta; NaN without one."""
    behind: tuple[float, float] | None
    """Interval of the first method's share minus this one's, on the same resamples; None for the first."""

    @property
    def corrected(self) -> float:
        """Returns the share of what is attainable; by chance it may be above 1."""
        return self.within / self.attainable if self.attainable > 0 else float("nan")


@revisions.of_newest
def collapse(
    rows: pd.DataFrame,
    *,
    step: int | None = None,
    kind: str | None = None,
    methods: Sequence[str] = ("zero", "mean", "resample", "optimal"),
    gamma: float | None = None,
    level: float = table.LEVEL,
    seed: int = 0,
) -> list[Collapse]:
    """Returns what each method's effect explains at one step, for the same points of all methods.

    A point is a component at one n_beta whose wrLLC and effects, by every measured method, are ok and positive.

    Args:
        rows: The measurement table.
        step: Training step; None takes the last with points enough.
        kind: Kind of component; None takes the smallest units measured.
        methods: Ablation methods, of which the first is that which others are held against.
        gamma: Of the wrLLC; None takes the one with the most n_beta.
        level: Probability of the intervals.
        seed: Of the resamples.

    Raises:
        SettingError: If no wrLLC was measured at this gamma.
    """
    kind = kind or table.unit_kind(rows) or ""
    for at in shared_steps(rows, kind=kind) if step is None else [step]:
        if found := _at(table.select(rows, step=at), kind, methods, gamma, level, seed):
            return found
    return []


def _at(
    own: pd.DataFrame, kind: str, methods: Sequence[str], gamma: float | None, level: float, seed: int
) -> list[Collapse]:
    measured = table.distinct(table.select(own, quantity="ablation_effect", kind=kind, loss="train"), "method")
    asked = [method for method in methods if method in measured]
    if not asked:
        return []
    clear = _points(own, kind, asked, gamma)
    points = clear.loc[np.asarray((clear[["llc", *asked]] > 0).all(axis=1), dtype=bool)]
    y, n_beta = np.log(table.numbers(points, "llc")), table.numbers(points, "n_beta")
    named = np.array(table.texts(points, "component"))
    off = {one: _off(np.log(n_beta * table.numbers(points, one)), y, named) for one in asked}
    if not len(y) or np.ptp(y) == 0 or any(each is None for each in off.values()):
        return []
    drawn = _resamples(named.tolist(), seed)
    left = {method: each for method, each in off.items() if each is not None}
    shares = {method: [_within(each[part], y[part], n_beta[part]) for part in drawn] for method, each in left.items()}
    around = _around(y, n_beta)
    told = {
        "step": table.steps(points)[0],
        "kind": kind,
        "points": len(points),
        "asked": len(headline_points(own, kind=kind, method=asked[0], gamma=gamma).groupby(["component", "n_beta"])),
        "components": len(table.distinct(points, "component")),
        "n_beta_alone": 1 - float(around @ around) / float(((y - y.mean()) ** 2).sum()),
        "attainable": _attainable(own, points, kind, asked[0]),
    }
    return [
        Collapse(
            **told,
            method=method,
            within=_within(each, y, n_beta),
            **dict(zip(("low", "high"), _ends(shares[method], level), strict=True)),
            ranked=_ranked(clear, method),
            behind=_ends(np.subtract(shares[asked[0]], shares[method]), level) if method != asked[0] else None,
        )
        for method, each in left.items()
    ]


@revisions.of_newest
def shared_steps(rows: pd.DataFrame, *, kind: str | None = None) -> list[int]:
    """Returns the steps at which both views of a kind were measured, the last first."""
    kind = kind or table.unit_kind(rows) or ""
    llc = table.steps(table.restricted_llc(rows, kind=kind))
    effects = table.steps(table.select(rows, quantity="ablation_effect", kind=kind, loss="train"))
    return sorted({*llc} & {*effects}, reverse=True)


def _points(rows: pd.DataFrame, kind: str, methods: Sequence[str], gamma: float | None) -> pd.DataFrame:
    """Returns step, component, n_beta, wrLLC and the effect by every method, of the points at which all are ok."""
    on = ["step", "component", "n_beta"]
    parts: list[pd.DataFrame] = []
    for method in methods:
        found = headline_points(rows, kind=kind, method=method, gamma=gamma)
        clear = found.loc[np.asarray(found["clear"], dtype=bool)]
        one = clear[[*on, "gamma", "llc", "effect"]].rename(columns={"effect": method})
        if one.duplicated(["component", "n_beta"]).any():
            raise DataError(
                "a component's wrLLC was measured under several settings; leave only the rows of one, by the column "
                "settings."
            )
        parts.append(one)
    return reduce(lambda left, right: left.merge(right.drop(columns=["llc", "gamma"]), on=on), parts)


def _attainable(rows: pd.DataFrame, points: pd.DataFrame, kind: str, method: str) -> float:
    """Returns the correlation of log wrLLC with its replicate around the means of each n_beta."""
    gamma = float(table.numbers(points, "gamma")[0])
    again = table.select(rows, quantity="llc", kind=kind, gamma=gamma)
    again = again.loc[np.equal(table.replicates(again), 1)]
    if not len(again):
        return float("nan")
    effects = table.select(rows, quantity="ablation_effect")
    second = _points(pd.concat([again.assign(replicate=0), effects]), kind, [method], gamma)
    second = second.loc[np.greater(table.numbers(second, "llc"), 0)]
    both = points.merge(second[["component", "n_beta", "llc"]], on=["component", "n_beta"], suffixes=("", "_again"))
    if len(both) < MIN_POINTS:
        return float("nan")
    n_beta = table.numbers(both, "n_beta")
    one, other = (_around(np.log(table.numbers(both, name)), n_beta) for name in ("llc", "llc_again"))
    return _correlation(one, other)


def _resamples(components: Sequence[str], seed: int) -> list[Int[np.ndarray, "point"]]:
    """Returns places of the points of resampled components, each with all of its n_beta."""
    named = np.array(components)
    own: list[Int[np.ndarray, "own"]] = [np.flatnonzero(named == one) for one in dict.fromkeys(components)]
    draws = np.random.default_rng(seed).integers(0, len(own), (_BOOTSTRAP, len(own)))
    chosen: list[list[int]] = draws.tolist()
    return [np.concatenate([own[one] for one in each]) for each in chosen]


def _off(
    x: Float[np.ndarray, "point"], y: Float[np.ndarray, "point"], components: np.ndarray
) -> Float[np.ndarray, "point"] | None:
    """Returns how far every point lies off the curve through the other components; None where one has no curve."""
    off = np.empty_like(y)
    for one in dict.fromkeys(components.tolist()):
        own = components == one
        if np.count_nonzero(~own) < MIN_POINTS or np.ptp(x[~own]) == 0:
            return None
        off[own] = y[own] - _foretold(fit_monotone(x[~own], y[~own]), x[own])
    return off


def _foretold(curve: Monotone, x: Float[np.ndarray, "point"]) -> Float[np.ndarray, "point"]:
    """Returns the heights of a curve, beyond its span straight on with the mean slope of the outer quarter."""
    low, high = float(curve.knots[0]), float(curve.knots[-1])
    quarter = (high - low) / 4
    first, second, third, last = curve(np.array([low, low + quarter, high - quarter, high])).tolist()
    below, above = np.minimum(x - low, 0), np.maximum(x - high, 0)
    return curve(x) + (below * (second - first) + above * (last - third)) / quarter


def _ranked(points: pd.DataFrame, method: str) -> float:
    """Returns the correlation of ranks within each n_beta."""
    n_beta = table.numbers(points, "n_beta")
    ranks = points.groupby("n_beta")[["llc", method]].rank(pct=True)
    one, other = (_around(table.numbers(ranks, name), n_beta) for name in ("llc", method))
    return _correlation(one, other)


def _correlation(one: Float[np.ndarray, "point"], other: Float[np.ndarray, "point"]) -> float:
    size = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / size if size else float("nan")


def _within(
    off: Float[np.ndarray, "point"], y: Float[np.ndarray, "point"], n_beta: Float[np.ndarray, "point"]
) -> float:
    around, left = _around(y, n_beta), _around(off, n_beta)
    return 1 - float(left @ left / (around @ around)) if around.any() else float("nan")


def _around(y: Float[np.ndarray, "point"], group: Float[np.ndarray, "point"]) -> Float[np.ndarray, "point"]:
    """Returns the deviations from the mean of each group."""
    _, place = np.unique(group, return_inverse=True)
    return y - (np.bincount(place, y) / np.bincount(place))[place]


def _ends(values: Sequence[float] | Float[np.ndarray, "resample"], level: float) -> tuple[float, float]:
    low, high = np.nanquantile(np.asarray(values, dtype=np.float64), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
