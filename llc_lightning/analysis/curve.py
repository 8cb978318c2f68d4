"""The headline: wrLLC of every unit as one smooth curve of n_beta x ablation effect, over resolutions and steps.

For a rank-one unit log wrLLC is one saturating function of log(n_beta x effect). Over n_beta, training steps and
neurons that of a CIS net follows one curve as well, but by n_beta for the most part: what the effect adds at one n_beta
is ``within`` and ``within_last``, and that of points that the curve has not seen is in the analysis ``collapse``. What
lies off the curve is what to look at: above it, a unit that constrains more directions than its effect says (redundant,
or a bias in disguise); below it, one that matters but is simple.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.monotone import MIN_POINTS, Monotone, fit_monotone
from llc_lightning.runtime.errors import SettingError

_POINT = [
    *("step", "component", "n_beta", "gamma", "resolution", "llc", "llc_stderr", "effect", "effect_stderr"),
    *("clear", "ok"),
]


@dataclass(frozen=True)
class Residual:
    """How far a unit's worst point lies off the curve."""

    component: str
    step: int
    n_beta: float
    resolution: float
    """n_beta x effect at this point."""
    llc: float
    llc_stderr: float
    expected: float
    """What the curve says at this resolution."""
    ratio: float
    """llc / expected."""
    sigmas: float
    """Distance in standard errors of the measurement, not in SDs of the scatter."""
    often: int
    """How many of the unit's points lie more than two residual SDs off, on either side."""


@dataclass(frozen=True)
class Curve:
    """A monotone curve through log wrLLC against log(n_beta x effect), and how well it explains the points."""

    gamma: float
    method: str
    kind: str
    fit: Monotone = field(repr=False)
    points: pd.DataFrame = field(repr=False)
    """One row for each (unit, step, n_beta), fitted (``ok``) or not: wrLLC ``llc``, ``effect``, their stderr,
    ``resolution`` = n_beta x effect, and in logarithms ``residual`` from the curve and its standard ``error``."""
    n: int
    """Number of fitted points."""
    r2: float
    """Share of the variance of log wrLLC that the curve explains."""
    residual_sd: float
    """SD of the residuals of log wrLLC: 0.1 is about 10 % of the value."""
    sampling_sd: float
    """Root mean square of the residuals' standard errors: the SD that measuring alone would give."""
    r2_n_beta: float
    """The share that n_beta alone explains (one mean for each n_beta): what the curve must beat."""
    within: float
    """Of the spread that n_beta leaves, around the mean of each n_beta, the share that the curve explains."""
    last_step: int
    within_last: float
    """The same of the points of the last step alone; NaN where these are too few."""

    def __call__(self, resolution: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Returns wrLLC on the curve at n_beta x effect; beyond the fitted span it stays at its end values."""
        return np.exp(self.fit(np.log(resolution)))

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and largest n_beta x effect that the curve was fitted to."""
        return float(np.exp(self.fit.knots[0])), float(np.exp(self.fit.knots[-1]))

    def largest_residuals(self, n: int = 8) -> list[Residual]:
        """Returns the units whose worst ok point lies farthest off the curve, one entry each, farthest first."""
        fitted = self.points.loc[np.asarray(self.points["ok"], dtype=bool)]
        far = np.abs(table.numbers(fitted, "residual"))
        units = np.asarray(table.texts(fitted, "component"))
        ranked = fitted.assign(far=far).sort_values("far", ascending=False, kind="stable")
        found: list[Residual] = []
        for worst in ranked.drop_duplicates("component").head(n).to_dict("records"):
            expected = float(self(np.asarray([worst["resolution"]], dtype=np.float64))[0])
            found.append(
                Residual(
                    component=str(worst["component"]),
                    step=int(worst["step"]),
                    n_beta=float(worst["n_beta"]),
                    resolution=float(worst["resolution"]),
                    llc=float(worst["llc"]),
                    llc_stderr=float(worst["llc_stderr"]),
                    expected=expected,
                    ratio=float(worst["llc"]) / expected,
                    sigmas=float(worst["residual"]) / float(worst["error"]),
                    often=int(((units == worst["component"]) & (far > 2 * self.residual_sd)).sum()),
                )
            )
        return found


@revisions.of_newest
def headline_points(
    rows: pd.DataFrame, *, kind: str | None = None, method: str = "zero", gamma: float | None = None
) -> pd.DataFrame:
    """Returns one row for each (unit, step, n_beta): wrLLC beside n_beta x effect, with ``ok`` for those that count.

    A point is ``clear`` where both measurements are ok. It counts where both values are positive as well, since the
    curve lives in logarithms.

    Args:
        rows: The measurement table.
        kind: Kind of component; None takes the smallest units measured.
        method: Ablation method whose effect on the training loss is used.
        gamma: Localisation strength; None takes the one with the most values of n_beta.

    Raises:
        SettingError: If ``gamma`` is given and no wrLLC was measured with it.
    """
    llc = table.restricted_llc(rows, kind=kind)
    have = sorted(set(table.numbers(llc, "gamma").tolist()))
    if gamma is not None and gamma not in have:
        raise SettingError(f"no wrLLC was measured at gamma {gamma:g}; choose one of {have}.")
    rungs = {one: len(set(table.numbers(table.select(llc, gamma=one), "n_beta").tolist())) for one in have}
    chosen = max(have, key=lambda one: rungs[one], default=0.0) if gamma is None else gamma
    effect = table.select(rows, quantity="ablation_effect", method=method, loss="train")
    pairs = table.matched(table.select(llc, gamma=chosen), effect, ["step", "component"], ("llc", "effect"))
    values, effects = table.numbers(pairs, "llc"), table.numbers(pairs, "effect")
    clear = np.asarray((pairs["llc_status"] == "ok") & (pairs["effect_status"] == "ok"), dtype=bool)
    counts = clear & np.greater(values, 0) & np.greater(effects, 0)
    resolution = table.numbers(pairs, "n_beta") * effects
    return pairs.assign(resolution=resolution, clear=clear, ok=counts)[_POINT].reset_index(drop=True)


@revisions.of_newest
def fit_curve(
    rows: pd.DataFrame, *, kind: str | None = None, method: str = "zero", gamma: float | None = None
) -> Curve | None:
    """Returns the monotone curve through the ok points of :func:`headline_points`, or None where they are too few."""
    points = headline_points(rows, kind=kind, method=method, gamma=gamma)
    fitted = points.loc[np.asarray(points["ok"], dtype=bool)]
    x, y = np.log(table.numbers(fitted, "resolution")), np.log(table.numbers(fitted, "llc"))
    if len(x) < MIN_POINTS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    fit = fit_monotone(x, y)
    residuals = y - fit(x)
    n_beta, steps = table.numbers(fitted, "n_beta"), table.numbers(fitted, "step")
    last = steps == steps.max()
    of_llc = table.numbers(fitted, "llc_stderr") / table.numbers(fitted, "llc")
    of_effect = table.numbers(fitted, "effect_stderr") / table.numbers(fitted, "effect")
    errors = np.hypot(of_llc, fit.slope(x) * of_effect)
    variation = float(((y - y.mean()) ** 2).sum())
    left = float((residuals**2).sum())
    return Curve(
        gamma=float(table.numbers(points, "gamma")[0]),
        method=method,
        kind=kind or table.unit_kind(rows) or "",
        fit=fit,
        points=points.join(pd.DataFrame({"residual": residuals, "error": errors}, index=fitted.index)),
        n=len(x),
        r2=1 - left / variation,
        residual_sd=float(np.sqrt(left / (len(x) - fit.freedom))),
        sampling_sd=float(np.sqrt(np.nanmean(errors**2))) if np.isfinite(errors).any() else float("nan"),
        r2_n_beta=1 - _left_within(y, n_beta) / variation,
        within=_explained(residuals, y, n_beta),
        last_step=int(steps.max()),
        within_last=_alone(x[last], y[last], n_beta[last]),
    )


def _explained(
    residuals: Float[np.ndarray, "point"], y: Float[np.ndarray, "point"], n_beta: Float[np.ndarray, "point"]
) -> float:
    """Returns the share of the spread around the mean of each n_beta that residuals do not leave."""
    around = _left_within(y, n_beta)
    return 1 - float((residuals**2).sum()) / around if around else float("nan")


def _alone(x: Float[np.ndarray, "point"], y: Float[np.ndarray, "point"], n_beta: Float[np.ndarray, "point"]) -> float:
    """Returns the share that a curve through these points alone explains; NaN where they are too few."""
    if len(x) < MIN_POINTS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return _explained(y - fit_monotone(x, y)(x), y, n_beta)


def _left_within(y: Float[np.ndarray, "point"], group: Float[np.ndarray, "point"]) -> float:
    return float(sum(((y[group == one] - y[group == one].mean()) ** 2).sum() for one in set(group.tolist())))
