"""Normal crossings, against a table and against another integrator."""

from fractions import Fraction

import pytest
import torch

from llc_lightning.exact import normal_crossing_coefficient, normal_crossing_value, quadratic_value
from llc_lightning.runtime.errors import SettingError

# Computed elsewhere by quadrature with 30 digits and on logarithmic grids; prior exp(-|w|^2 / 2).
CROSSINGS = {
    (1,): (0.4761905, 0.4975124, 0.4997501, 0.4999975),
    (2,): (0.2249027, 0.2417176, 0.2473449, 0.2497330),
    (3,): (0.1437770, 0.1556173, 0.1614433, 0.1655272),
    (1, 1): (0.2902743, 0.3542038, 0.3902727, 0.4270527),
    (1, 2): (0.173435, 0.205712, 0.224851, 0.242013),
    (2, 2): (0.122537, 0.147135, 0.165238, 0.188429),
}
N_BETAS = (10.0, 100.0, 1000.0, 1e5)
COEFFICIENTS = {
    (1,): (Fraction(1, 2), 1),
    (2,): (Fraction(1, 4), 1),
    (3,): (Fraction(1, 6), 1),
    (1, 1): (Fraction(1, 2), 2),
    (1, 2): (Fraction(1, 4), 1),
    (2, 2): (Fraction(1, 4), 2),
    (3, 1, 3, 3): (Fraction(1, 6), 3),
}


@pytest.mark.parametrize("powers", COEFFICIENTS)
def test_the_coefficient(powers: tuple[int, ...]) -> None:
    found = normal_crossing_coefficient(powers)
    assert (found.value, found.multiplicity, found.dimension) == (*COEFFICIENTS[powers], len(powers))


@pytest.mark.parametrize("powers", COEFFICIENTS)
def test_at_large_n_beta_the_coefficient_less_what_the_multiplicity_costs_is_left(powers: tuple[int, ...]) -> None:
    found = normal_crossing_coefficient(powers)
    # The costs of the multiplicity fall as 1 / log n_beta alone, so their sum is compared at two n_beta.
    first, second = (normal_crossing_value(powers, n_beta=n_beta, gamma=1.0) for n_beta in (1e100, 1e200))
    assert 2 * second - first == pytest.approx(float(found.value), rel=1e-3)
    assert (float(found.value) - second) * 460.5 == pytest.approx(found.multiplicity - 1, rel=0.05, abs=1e-6)


@pytest.mark.parametrize("powers", CROSSINGS)
def test_the_table(powers: tuple[int, ...]) -> None:
    values = [normal_crossing_value(powers, n_beta=n_beta, gamma=1.0) for n_beta in N_BETAS]
    assert values == pytest.approx(CROSSINGS[powers], abs=1e-6)


def test_the_order_of_the_weights_does_not_matter() -> None:
    swapped = normal_crossing_value((2, 1), n_beta=30.0, gamma=2.0)
    assert normal_crossing_value((1, 2), n_beta=30.0, gamma=2.0) == pytest.approx(swapped, rel=1e-12)


def test_a_square_is_a_quadratic_of_curvature_two() -> None:
    assert normal_crossing_value((1,), n_beta=7.0, gamma=3.0) == pytest.approx(
        quadratic_value([2.0], n_beta=7.0, gamma=3.0), rel=1e-12
    )


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(SettingError, match=r"powers has no entry; give one for each weight\."):
        normal_crossing_value((), n_beta=1.0, gamma=1.0)
    with pytest.raises(SettingError, match=r"a power is 0; give an integer of at least 1\."):
        normal_crossing_value((0,), n_beta=1.0, gamma=1.0)
    with pytest.raises(SettingError, match=r"gamma is 0\.0; it must be positive\."):
        normal_crossing_value((1,), n_beta=1.0, gamma=0.0)


@pytest.mark.parametrize("powers", [(1, 1, 1), (1, 1)])
def test_another_integrator_agrees(powers: tuple[int, ...]) -> None:
    log_w = torch.linspace(-25, 2.5, 130, dtype=torch.float64)
    axes = torch.meshgrid(*[log_w] * len(powers), indexing="ij")
    energy = 100 * sum(2 * power * axis for power, axis in zip(powers, axes, strict=True)).exp()
    weight = torch.softmax((sum(axis - (2 * axis).exp() / 2 for axis in axes) - energy).flatten(), 0)
    expected = (weight @ energy.flatten()).item()
    assert normal_crossing_value(powers, n_beta=100.0, gamma=1.0) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("n_beta", [1e-6, 1.0, 1e12])
def test_one_square_at_any_n_beta(n_beta: float) -> None:
    expected = quadratic_value([2.0], n_beta=n_beta, gamma=0.01)
    assert normal_crossing_value((1,), n_beta=n_beta, gamma=0.01) == pytest.approx(expected, rel=1e-9)
