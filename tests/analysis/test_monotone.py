"""The monotone smooth curve."""

import numpy as np
import pytest

from llc_lightning.analysis.monotone import fit_monotone
from llc_lightning.runtime.errors import DataError


def test_a_rising_cubic_is_met_exactly() -> None:
    x = np.linspace(-1, 2, 60)
    y = x**3 + 2 * x - 1
    np.testing.assert_allclose(fit_monotone(x, y)(x), y, atol=1e-9)


def test_it_never_falls_however_noisy() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 5, 300)
    curve = fit_monotone(x, np.tanh(x - 2) + rng.standard_normal(300))
    heights = curve(np.linspace(-1, 6, 1000))
    assert (np.diff(heights) >= -1e-12).all()
    assert heights[-1] > heights[0]


def test_falling_data_give_a_flat_line_at_their_mean() -> None:
    x = np.linspace(0, 1, 40)
    curve = fit_monotone(x, -x)
    np.testing.assert_allclose(curve(x), -0.5, atol=1e-9)
    assert curve.freedom == 1


def test_it_is_constant_outside_the_data() -> None:
    x = np.linspace(0, 1, 40)
    curve = fit_monotone(x, x)
    np.testing.assert_allclose(curve(np.array([-9.0, 0.5, 9.0])), [0, 0.5, 1], atol=1e-9)


def test_the_slope_is_the_derivative() -> None:
    x = np.linspace(1, 2, 50)
    np.testing.assert_allclose(fit_monotone(x, x**2).slope(np.array([1.2, 1.7])), [2.4, 3.4], rtol=1e-6)


@pytest.mark.parametrize("x", [np.arange(11.0), np.ones(40)])
def test_too_little_data_is_an_error(x: np.ndarray) -> None:
    with pytest.raises(DataError, match="too few"):
        fit_monotone(x, x)
