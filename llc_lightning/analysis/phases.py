"""When a component forms, by its wrLLC and by its ablation effect, and whether one of them leads.

A phase time is the step at which a trajectory has done half of its way from its first value to the one farthest from
it. Errors of the measurements are carried into it; between two snapshots it is interpolated in log(1 + step) and cannot
be known better than their distance, which the interval has in it.

That wrLLC passes half its way at another step than the effect means nothing by itself: a saturating function of an
effect passes half its way at another step than the effect does. What is compared is therefore the wrLLC with what the
curve through all points (:func:`~llc_lightning.analysis.curve.fit_curve`) says of the effect of the same step.

Of the whole net each view has a phase time of its own: the loss, the LLC, the mean wrLLC and the mean effect of its
components.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.curve import Curve, fit_curve
from llc_lightning.runtime.errors import DataError

Verdict: TypeAlias = Literal["the LLC leads", "the LLC lags", "not resolved"]

_DRAWS = 1000
_ERRORS = 3.0
"""A trajectory that does not move by so many standard errors has no phase time."""
_ROUNDING = 1e-9
_LEAST = 4
"""Snapshots that a trajectory needs."""


@dataclass(frozen=True)
class Phase:
    """When a trajectory has done half of its way."""

    step: float
    low: float
    high: float
    """Ends of the interval by the errors of the measurements, widened to the snapshots on both sides."""
    farthest: int
    """The step at which the trajectory is farthest from where it began."""
    since: int
    until: int
    """The snapshots between which it lies."""
    inside: int
    """Snapshots at which between a tenth and nine tenths of the way are done."""

    def __str__(self) -> str:
        """Writes the step with its interval."""
        return f"{self.step:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class Led:
    """Both phase times of one component, and which was first."""

    component: str
    llc: Phase
    effect: Phase
    expected: Phase | None
    """Of the wrLLC that the curve expects of the effect, with the scatter of all points around the curve; None where
    that hides its way."""
    ratio: float
    """Step of the wrLLC, counted from 1, over that of what is expected: below 1 it leads. NaN where that is not known,
    as are its ends."""
    low: float
    high: float
    first: int
    """The first snapshot at which both views are ok and positive: trajectories begin there."""
    left_out: int
    """Snapshots at which they are not."""

    @property
    def verdict(self) -> Verdict:
        """Which leads, where the interval of the ratio leaves no doubt."""
        if self.high < 1 - _ROUNDING:
            return "the LLC leads"
        return "the LLC lags" if self.low > 1 + _ROUNDING else "not resolved"


def phase(
    steps: Sequence[int],
    values: Float[np.ndarray, "snapshot"],
    stderrs: Float[np.ndarray, "snapshot"],
    *,
    level: float = table.LEVEL,
    seed: int = 0,
) -> Phase | None:
    """Returns when a trajectory has done half of its way.

    None where it hardly moves, has too few snapshots, or a value or an error is not finite.

    Args:
        steps: Of the snapshots, rising.
        values: At these steps.
        stderrs: Of the values; 0 for those that are exact.
        level: Probability of the interval.
        seed: Of the draws from the errors.

    Example:
        >>> print(phase([10, 20, 40, 80, 160], np.array([0.0, 0.0, 1.0, 1.0, 1.0]), np.full(5, 0.01)))
        28.34 [20, 40]
    """
    if len(steps) < _LEAST or not np.isfinite([*values, *stderrs]).all():
        return None
    far = int(np.argmax(np.abs(values - values[0])))
    way = float(values[far] - values[0])
    if abs(way) <= _ERRORS * float(np.hypot(stderrs[0], stderrs[far])):
        return None
    at = np.log1p(np.asarray(steps, dtype=np.float64))
    places, afters = _half(at, values[None])
    place, until = float(places[0]), int(afters[0])
    drawn, _ = _half(at, values + stderrs * np.random.default_rng(seed).standard_normal((_DRAWS, len(values))))
    ends = [float(end) for end in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])]
    share = (values[: far + 1] - values[0]) / way
    return Phase(
        step=float(np.expm1(place)),
        low=min(float(np.expm1(ends[0])), float(steps[until - 1])),
        high=max(float(np.expm1(ends[1])), float(steps[until])),
        farthest=int(steps[far]),
        since=int(steps[until - 1]),
        until=int(steps[until]),
        inside=int(((share > 0.1) & (share < 0.9)).sum()),
    )


def _half(
    at: Float[np.ndarray, "snapshot"], values: Float[np.ndarray, "draw snapshot"]
) -> tuple[Float[np.ndarray, "draw"], Int[np.ndarray, "draw"]]:
    """Returns where each trajectory first passes the middle between its first value and the one farthest from it.

    And the number of the snapshot from which on it has passed, at least 1.
    """
    way = values - values[:, :1]
    rows = np.arange(len(values))
    far = np.abs(way).argmax(1)
    share = way / np.where(way[rows, far] == 0, 1.0, way[rows, far])[:, None]
    after = np.maximum((share >= 0.5).argmax(1), 1)
    left, right = share[rows, after - 1], share[rows, after]
    rise = np.where(right > left, right - left, 1.0)
    return at[after - 1] + np.clip((0.5 - left) / rise, 0, 1) * (at[after] - at[after - 1]), after


@revisions.of_newest
def led(
    rows: pd.DataFrame,
    *,
    n_beta: float,
    gamma: float,
    kind: str | None = None,
    method: str = "zero",
    level: float = table.LEVEL,
) -> list[Led]:
    """Returns the phase times of every component that has both, in natural order.

    The ratio of the steps is that of the wrLLC to what the curve expects of the effect. Its interval goes from the
    lower end of one to the upper end of the other, so that nothing finer than the snapshots is ever resolved; it holds
    more often than it says.

    Args:
        rows: The measurement table.
        n_beta: Of the wrLLC.
        gamma: Of the wrLLC.
        kind: Kind of component; None takes the smallest units measured.
        method: Ablation method of the effect.
        level: Probability of the intervals.

    Raises:
        SettingError: If no wrLLC was measured at this gamma.
        DataError: If a component was measured under several settings.
    """
    curve = fit_curve(rows, kind=kind, method=method, gamma=gamma)
    if curve is None:
        return []
    points = table.select(curve.points, n_beta=n_beta).sort_values("step", kind="stable")
    found = (_led(str(name), one, curve, level) for name, one in table.by(points, "component"))
    by_name = {one.component: one for one in found if one is not None}
    return [by_name[name] for name in table.natural(by_name)]


def _led(component: str, every: pd.DataFrame, curve: Curve, level: float) -> Led | None:
    """Returns both phase times of one component.

    Raises:
        DataError: If it was measured under several settings.
    """
    points = every.loc[np.asarray(every["ok"], dtype=bool)]
    steps = [int(step) for step in points["step"].tolist()]
    if len(set(steps)) < len(steps):
        raise DataError(
            f"the wrLLC of {component!r} was measured under several settings; leave only the rows of one, by the "
            "column settings."
        )
    if len(steps) < _LEAST:
        return None
    llc, effect = ([table.numbers(points, f"{name}{what}") for what in ("", "_stderr")] for name in ("llc", "effect"))
    resolution = table.numbers(points, "resolution")
    expected = curve(resolution)
    of_effect = curve.fit.slope(np.log(resolution)) * np.nan_to_num(effect[1]) / effect[0]
    moved = expected * np.hypot(of_effect, curve.residual_sd)
    # Draws of their own for the measured and the expected, so that their intervals add.
    phases = [
        phase(steps, *one, level=level, seed=seed)
        for seed, one in enumerate((llc, (expected, moved), (effect[0], np.nan_to_num(effect[1]))))
    ]
    measured, told, by_effect = phases
    if measured is None or by_effect is None:
        return None
    ratios = (np.nan,) * 3
    if told:
        ends = ((measured.step, told.step), (measured.low, told.high), (measured.high, told.low))
        ratios = tuple((1 + one) / (1 + other) for one, other in ends)
    return Led(component, measured, by_effect, told, *ratios, first=steps[0], left_out=len(every) - len(points))


@dataclass(frozen=True)
class Dated:
    """When a whole net changes, by one view."""

    view: str
    phase: Phase | None
    """None where the view hardly moves."""
    flagged: int
    """Values that are not ok; they count, since no estimate around weights that still fall is ok."""
    values: int
    """Of all snapshots and components."""
    snapshots: int
    left_out: int
    """Components without a value at some of the snapshots."""


@revisions.of_newest
def dated(rows: pd.DataFrame, *, method: str = "zero", level: float = table.LEVEL) -> list[Dated]:
    """Returns when the net changes by every view that was measured.

    The views are the loss, the LLC of the whole model, the mean wrLLC of its smallest units, each at the largest gamma
    and n_beta, and the mean effect of ablating these, of the components with a value at every snapshot. The error of a
    mean takes those of the components as fully dependent, since they share their random numbers.

    Args:
        rows: The measurement table.
        method: Ablation method of the effect.
        level: Probability of the intervals.

    Raises:
        DataError: If something was measured under several settings, so that it is not known which is meant.
    """
    kind = table.unit_kind(rows) or ""
    losses = table.select(rows, quantity="loss", loss="train", component="")
    effects = table.select(rows, quantity="ablation_effect", loss="train", kind=kind, method=method)
    views = {
        "loss": table.most_examples(losses, ["step"]),
        **_at_largest("LLC", table.full_llc(rows)),
        **_at_largest("mean wrLLC", table.restricted_llc(rows)),
        f"mean {method} effect": table.most_examples(effects, ["step", "component"]),
    }
    return [_dated(name, found, level) for name, found in views.items() if len(found)]


def _at_largest(view: str, llc: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns the rows at the largest gamma, and of these the ones at the largest n_beta, by a name that says so."""
    if not len(llc):
        return {}
    gamma = float(llc["gamma"].max())
    n_beta = float(table.select(llc, gamma=gamma)["n_beta"].max())
    return {f"{view} (n_beta {n_beta:g}, gamma {gamma:g})": table.select(llc, gamma=gamma, n_beta=n_beta)}


def _dated(view: str, rows: pd.DataFrame, level: float) -> Dated:
    """Returns when a view changes.

    Raises:
        DataError: If something was measured under several settings.
    """
    if rows.duplicated(["step", "component"]).any():
        raise DataError(f"the {view} was measured under several settings; leave only the rows of one, by the column "
                        "settings.")  # fmt: skip
    steps = table.steps(rows)
    known = rows.loc[np.isfinite(table.numbers(rows, "value"))]
    counts = known["component"].value_counts()
    whole = known.loc[np.asarray(known["component"].map(counts) == len(steps), dtype=bool)]
    left_out = rows["component"].nunique() - whole["component"].nunique()
    flagged = len(whole) - int(table.ok(whole).sum())
    values, errors = (
        np.array([table.numbers(one, name).mean() for _, one in table.by(whole, "step")])
        for name in ("value", "stderr")
    )
    found = phase(steps, values, errors, level=level) if len(values) else None
    return Dated(view, found, flagged, len(whole), len(steps), left_out)
