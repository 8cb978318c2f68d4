"""A smooth curve that never falls, by least squares."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import interpolate, optimize

from llc_lightning.runtime.errors import DataError

MIN_POINTS = 12
_INNER_KNOTS = 3
_DEGREE = 3


@dataclass(frozen=True)
class Monotone:
    """The curve ``y(x) = c_0 + sum_k c_k I_k(x)`` with ``c_k >= 0``; constant outside the fitted range."""

    knots: Float[np.ndarray, "knot"]
    weights: Float[np.ndarray, "basis"]

    def __call__(self, x: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Returns the curve's height at ``x``."""
        return (_rising(x.reshape(-1), self.knots) @ self.weights).reshape(x.shape)

    def slope(self, x: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Returns the curve's slope at ``x``, by central differences."""
        step = 1e-4 * float(np.ptp(self.knots))
        return (self(x + step) - self(x - step)) / (2 * step)

    @property
    def freedom(self) -> int:
        """How many weights the data moved off zero."""
        return 1 + int(np.count_nonzero(self.weights[1:]))


def fit_monotone(x: Float[np.ndarray, "point"], y: Float[np.ndarray, "point"]) -> Monotone:
    """Returns the best curve of the I-spline family through the points, all weighing the same.

    ``I_k`` are sums of the last B-splines of a cubic basis (Ramsay 1988), which rise from 0 to 1; at most three inner
    knots lie at quantiles of ``x``. Bounded least squares has one optimum, so nothing depends on a starting point.

    Raises:
        DataError: If there are fewer than ``MIN_POINTS`` points, or they share one ``x``.

    Example:
        >>> x = np.linspace(0, 1, 20)
        >>> bool(np.allclose(fit_monotone(x, 2 * x + 1)(x), 2 * x + 1))
        True
    """
    if len(x) < MIN_POINTS or np.ptp(x) == 0:
        raise DataError(
            f"{len(x)} points at {len(set(x.tolist()))} places are too few; a curve needs {MIN_POINTS} points."
        )
    inner = min(_INNER_KNOTS, len(x) // MIN_POINTS)
    knots = np.unique(np.quantile(x, np.linspace(0, 1, inner + 2)))
    design = _rising(x, knots)
    free_then_positive = np.r_[-np.inf, np.zeros(design.shape[1] - 1)]
    fit = optimize.lsq_linear(design, y, bounds=(free_then_positive, np.inf), method="bvls")
    return Monotone(knots, np.asarray(fit.x, dtype=np.float64))


def _rising(x: Float[np.ndarray, "point"], knots: Float[np.ndarray, "knot"]) -> Float[np.ndarray, "point basis"]:
    """Returns the I-splines at ``x``; the first is constant 1."""
    padded = np.r_[[knots[0]] * _DEGREE, knots, [knots[-1]] * _DEGREE]
    basis = interpolate.BSpline.design_matrix(np.clip(x, knots[0], knots[-1]), padded, _DEGREE).toarray()
    return np.cumsum(basis[:, ::-1], axis=1)[:, ::-1]
