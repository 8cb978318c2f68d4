"""Rank correlations with intervals and permutation p-values, plain and partial."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special

from llc_lightning.analysis.table import LEVEL
from llc_lightning.runtime.errors import DataError

PERMUTATIONS = 9999
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Correlation:
    """A rank correlation; all numbers but ``n`` are NaN where it is undefined (too few values, or all equal)."""

    rho: float
    low: float
    high: float
    """Ends of the interval, of the probability that was asked for."""
    p: float
    """Two-sided p-value of a permutation test against no association; NaN where none was asked for."""
    n: int
    """Number of pairs."""

    @property
    def defined(self) -> bool:
        """Whether there is a correlation."""
        return bool(np.isfinite(self.rho))

    def __str__(self) -> str:
        """Writes the value with its interval and p."""
        if not self.defined:
            return f"undefined (n = {self.n})"
        chance = "" if np.isnan(self.p) else f", p = {self.p:.2g}"
        return f"{self.rho:+.2f} [{self.low:+.2f}, {self.high:+.2f}]{chance} (n = {self.n})"


def spearman(
    x: Float[np.ndarray, "pair"],
    y: Float[np.ndarray, "pair"],
    *,
    seed: int = 0,
    level: float = LEVEL,
    permutations: int = PERMUTATIONS,
) -> Correlation:
    """Returns Spearman's rank correlation of two variables.

    The interval is Fisher's z with the standard error ``sqrt((1 + rho^2 / 2) / (n - 3))`` (Bonett and Wright 2000),
    about 0.15 to either side at rho = 0.8 and n = 32. It takes the pairs as independent.

    Args:
        x: One variable.
        y: The other, paired with it.
        seed: Seed of the permutations.
        level: Probability of the interval.
        permutations: Number of permutations of the test, exact where there are fewer; 0 leaves ``p`` out.

    Raises:
        DataError: If a value is not finite.

    Example:
        >>> spearman(np.arange(5.0), np.arange(5.0) ** 3, permutations=0).rho
        1.0
    """
    return _correlation(ranks(x), ranks(y), controls=0, seed=seed, level=level, permutations=permutations)


def partial_spearman(
    x: Float[np.ndarray, "pair"],
    y: Float[np.ndarray, "pair"],
    given: Float[np.ndarray, "pair"],
    *,
    seed: int = 0,
    level: float = LEVEL,
    permutations: int = PERMUTATIONS,
) -> Correlation:
    """Returns the rank correlation of ``x`` and ``y`` that is left once the ranks of ``given`` are taken out of both.

    It is the correlation of the residuals of the ranks, ``(r_xy - r_xg r_yg) / sqrt((1 - r_xg^2)(1 - r_yg^2))``. The
    interval loses one degree of freedom; the residuals are what is permuted.

    Raises:
        DataError: If a value is not finite.
    """
    control = ranks(given)
    left = [_without(ranks(values), control) for values in (x, y)]
    return _correlation(left[0], left[1], controls=1, seed=seed, level=level, permutations=permutations)


def ranks(values: Float[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
    """Returns the ranks of values, from 1; equal ones share the mean of theirs.

    Raises:
        DataError: If a value is not finite.
    """
    if not np.isfinite(values).all():
        raise DataError(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} values are not finite; leave them out first."
        )
    return pd.Series(values).rank().to_numpy(dtype=np.float64)


def _without(values: Float[np.ndarray, "pair"], given: Float[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
    centred, control = values - values.mean(), given - given.mean()
    size = float(control @ control)
    left = centred - control * (float(centred @ control) / size) if size else centred
    return np.where(np.abs(left) > _ROUNDING * len(values), left, 0.0)


def _correlation(
    x: Float[np.ndarray, "pair"],
    y: Float[np.ndarray, "pair"],
    *,
    controls: int,
    seed: int,
    level: float,
    permutations: int,
) -> Correlation:
    n = len(x)
    nan = float("nan")
    if n - controls < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation(nan, nan, nan, nan, n)
    centred = y - y.mean()
    scale = float(np.linalg.norm(x - x.mean()) * np.linalg.norm(centred))
    rho = float((x - x.mean()) @ centred) / scale
    if abs(rho) > 1 - _ROUNDING:
        low = high = rho = float(np.sign(rho))
    else:
        reach = _quantile((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (n - controls - 3))
        low, high = (float(np.tanh(np.arctanh(rho) + side * reach)) for side in (-1, 1))
    p = _permutation_p(x, centred, permutations, seed) if permutations else nan
    return Correlation(rho, low, high, p, n)


@cache
def _quantile(probability: float) -> float:
    """Returns the quantile of the normal distribution, which takes longer than a correlation."""
    return float(special.ndtri(probability))


def _permutation_p(
    x: Float[np.ndarray, "pair"], centred: Float[np.ndarray, "pair"], permutations: int, seed: int
) -> float:
    from scipy import stats  # takes a third of a second

    def product(values: Float[np.ndarray, "..."], axis: int = -1) -> Float[np.ndarray, "..."]:
        return np.asarray(np.moveaxis(values, axis, -1) @ centred)

    test = stats.permutation_test(
        (x,), product, permutation_type="pairings", vectorized=True, n_resamples=permutations, rng=seed
    )
    return float(test.pvalue)
