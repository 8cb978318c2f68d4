"""One linear unit alone, against a table, its limits, and another integrator."""

import math
from fractions import Fraction

import numpy as np
import pytest

from llc_lightning.exact import quadratic_value, reduced_rank_value, unit_coefficient, unit_value
from llc_lightning.runtime.errors import SettingError

# Four inputs and outputs: n_beta, and the value by n_beta times the loss that ablating the unit costs.
TABLE = {
    1000.0: {0.0: 1.835, 0.05: 1.874, 0.45: 2.169, 20.0: 3.542, 500.0: 3.498},
    100.0: {0.5: 2.12, 2.0: 3.02, 4.5: 3.65, 12.5: 3.53},
}


@pytest.mark.parametrize("n_beta", TABLE)
def test_the_table(n_beta: float) -> None:
    for cost, expected in TABLE[n_beta].items():
        value = unit_value(4, 4, strength=math.sqrt(2 * cost / n_beta), n_beta=n_beta, gamma=1.0)
        assert value == pytest.approx(expected, abs=5e-4 if n_beta == 1000 else 6e-3)


@pytest.mark.parametrize("widths", [(1, 1), (2, 5), (5, 2), (4, 1)])
def test_a_dead_unit_is_reduced_rank_regression_through_one_unit(widths: tuple[int, int]) -> None:
    inputs, outputs = widths
    value = unit_value(inputs, outputs, strength=0.0, n_beta=300.0, gamma=2.0)
    assert value == pytest.approx(reduced_rank_value(inputs, 1, outputs, n_beta=300.0, gamma=2.0), rel=1e-9)


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_another_integrator_agrees(strength: float) -> None:
    root, gamma, n_beta = math.sqrt(strength), 2.0, 30.0
    a, b = np.meshgrid(*[np.linspace(-8, 8, 1601)] * 2)
    energy = n_beta / 2 * (a * b - strength) ** 2
    weight = np.exp(-energy - gamma / 2 * ((a - root) ** 2 + (b - root) ** 2))
    expected = (weight * energy).sum() / weight.sum()
    assert unit_value(1, 1, strength=strength, n_beta=n_beta, gamma=gamma) == pytest.approx(expected, rel=1e-5)


def test_another_integrator_agrees_on_more_inputs() -> None:
    root, gamma, n_beta = math.sqrt(0.5), 2.0, 30.0
    along, across, b = np.meshgrid(np.linspace(-4, 5, 141), np.linspace(-5, 5, 151), np.linspace(-4, 5, 141))
    energy = n_beta / 2 * ((along * b - 0.5) ** 2 + (across * b) ** 2)
    weight = np.exp(-energy - gamma / 2 * ((along - root) ** 2 + across**2 + (b - root) ** 2))
    expected = (weight * energy).sum() / weight.sum()
    assert unit_value(2, 1, strength=0.5, n_beta=n_beta, gamma=gamma) == pytest.approx(expected, rel=1e-5)


def test_a_strong_unit_is_the_quadratic_of_its_hessian() -> None:
    # For |a| = |b| = 1: curvature 2 along both, 1 across, 0 along the scale that they share.
    exact = quadratic_value([2.0, *[1.0] * 5, 0.0], n_beta=1e7, gamma=5.0)
    assert unit_value(3, 4, strength=1.0, n_beta=1e7, gamma=5.0) == pytest.approx(exact, rel=1e-6)
    assert unit_value(3, 4, strength=1.0, n_beta=1e9, gamma=2000.0) == pytest.approx(3, rel=1e-4)


def test_the_coefficients_of_used_and_dead_units() -> None:
    assert unit_coefficient(4, 3, strength=0.1).value == 3
    assert unit_coefficient(4, 3, strength=0.0).value == Fraction(3, 2)
    assert unit_coefficient(4, 4, strength=0.0).multiplicity == 2


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(SettingError, match=r"^strength is -1\.0; it must be at least 0\.$"):
        unit_value(4, 4, strength=-1.0, n_beta=1.0, gamma=1.0)
    with pytest.raises(SettingError, match=r"^strength is 2000000\.0 and gamma 1\.0; .* product is at most 100000\.$"):
        unit_value(4, 4, strength=2e6, n_beta=1.0, gamma=1.0)
    with pytest.raises(SettingError, match=r"^gamma is 0\.0; it must be positive\.$"):
        unit_value(4, 4, strength=1.0, n_beta=1.0, gamma=0.0)
