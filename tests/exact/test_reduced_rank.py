"""Reduced-rank regression, against tables and against integrals made in another way."""

import math
from fractions import Fraction

import pytest
import torch
from scipy.integrate import dblquad

from llc_lightning.exact import normal_crossing_value, reduced_rank_coefficient, reduced_rank_value
from llc_lightning.runtime.errors import SettingError

# By Gauss-Laguerre quadrature, which is good to five digits at the largest n_beta.
REDUCED_RANK = {
    (1, 1, 1): (0.262580, 0.338768, 0.381344, 0.423169),
    (2, 1, 2): (0.664559, 0.794464, 0.858206, 0.914012),
    (3, 1, 2): (0.821931, 0.939436, 0.980397, 0.998020),
    (2, 2, 2): (1.155025, 1.356326, 1.441763, 1.491046),
    (3, 2, 3): (2.006064, 2.297437, 2.417810, 2.487081),
}
N_BETAS = (10.0, 100.0, 1000.0, 1e5)
# Inputs, hidden, outputs, rank: the coefficient, its multiplicity, half the dimension.
COEFFICIENTS = {
    (1, 1, 1, 0): (Fraction(1, 2), 2, 1),
    (2, 1, 2, 0): (1, 2, 2),
    (2, 2, 2, 0): (Fraction(3, 2), 1, 4),
    (2, 2, 2, 1): (2, 2, 4),
    (2, 2, 2, 2): (2, 1, 4),
    (3, 2, 3, 0): (Fraction(5, 2), 1, 6),
    (3, 2, 3, 1): (Fraction(7, 2), 2, 6),
    (3, 2, 3, 2): (4, 1, 6),
    (5, 3, 5, 0): (Fraction(13, 2), 2, 15),
    (5, 4, 5, 0): (8, 1, 20),
    (4, 3, 8, 0): (6, 1, 18),
    (8, 3, 4, 0): (6, 1, 18),
    (3, 8, 4, 0): (6, 1, 28),
}


@pytest.mark.parametrize("case", COEFFICIENTS)
def test_the_table_of_coefficients(case: tuple[int, int, int, int]) -> None:
    inputs, hidden, outputs, rank = case
    found = reduced_rank_coefficient(inputs, hidden, outputs, rank=rank)
    assert (found.value, found.multiplicity, found.dimension / 2) == COEFFICIENTS[case]


def test_taking_a_unit_away_changes_the_coefficient() -> None:
    def change(inputs: int, hidden: int, outputs: int, rank: int, left: int) -> Fraction:
        after = reduced_rank_coefficient(inputs, hidden - 1, outputs, rank=left)
        return after.value - reduced_rank_coefficient(inputs, hidden, outputs, rank=rank).value

    assert change(4, 3, 4, 2, 2) == -1
    assert change(4, 4, 4, 2, 2) == Fraction(-1, 2)
    assert change(5, 3, 5, 1, 1) == Fraction(-3, 2)
    assert change(4, 2, 4, 2, 1) == Fraction(-5, 2), "a needed unit"


@pytest.mark.parametrize("widths", REDUCED_RANK)
def test_the_table(widths: tuple[int, int, int]) -> None:
    values = [reduced_rank_value(*widths, n_beta=n_beta, gamma=1.0) for n_beta in N_BETAS]
    assert values[:3] == pytest.approx(REDUCED_RANK[widths][:3], abs=1.5e-6)
    assert values[3] == pytest.approx(REDUCED_RANK[widths][3], abs=1.5e-5)


def test_one_by_one_is_the_crossing_of_two_lines() -> None:
    crossing = normal_crossing_value((1, 1), n_beta=50.0, gamma=1.0)
    assert reduced_rank_value(1, 1, 1, n_beta=100.0, gamma=1.0) == pytest.approx(crossing, rel=1e-10)


def test_another_integrator_agrees() -> None:
    def weight(small: float, large: float) -> float:
        spread = (large - small) / (small * large) ** 0.5
        decay = (1 + 100 * small) * (1 + 100 * large)
        return spread / decay * 2.718281828459045 ** (-(small + large) / 2)

    def energy(small: float, large: float) -> float:
        return weight(small, large) * (100 * small / (1 + 100 * small) + 100 * large / (1 + 100 * large))

    # In roots of the eigenvalues, which takes the square-root singularity away.
    total, above = (
        dblquad(lambda u, v, f=f: 4 * u * v * f(u * u, v * v), 1e-9, 8, 1e-9, lambda v: v, epsabs=1e-9)[0]
        for f in (weight, energy)
    )
    assert reduced_rank_value(2, 2, 2, n_beta=100.0, gamma=1.0) == pytest.approx(above / total, rel=1e-6)


@pytest.mark.parametrize("widths", [(3, 3, 4), (3, 4, 3), (4, 5, 4), (5, 2, 3)])
def test_it_is_the_mean_over_draws_of_the_first_map(widths: tuple[int, int, int]) -> None:
    inputs, hidden, outputs = widths
    scale = 20.0 / 2.0**2
    first = torch.randn(100_000, hidden, inputs, dtype=torch.float64)
    # Weighted by the integral over the second map, whose energy is known given the first.
    scaled = scale * torch.linalg.eigvalsh(first @ first.mT).clamp(min=0)
    weight = (-outputs / 2 * scaled.log1p().sum(1)).exp()
    energy = outputs / 2 * (scaled / (1 + scaled)).sum(1)
    mean = (weight @ energy / weight.sum()).item()
    stderr = ((weight * (energy - mean)).square().sum().sqrt() / weight.sum()).item()
    assert stderr < 0.01 * mean
    assert abs(reduced_rank_value(*widths, n_beta=20.0, gamma=2.0) - mean) <= 3 * stderr


@pytest.mark.parametrize("widths", [(3, 3, 3), (2, 3, 4), (6, 6, 6)])
def test_at_large_n_beta_the_coefficient_is_left(widths: tuple[int, int, int]) -> None:
    found = reduced_rank_coefficient(*widths, rank=0)
    gap = float(found.value) - reduced_rank_value(*widths, n_beta=1e12, gamma=1.0)
    assert gap == pytest.approx((found.multiplicity - 1) / math.log(1e12), rel=0.2, abs=1e-4)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(
        SettingError, match=r"^the smallest width is 7; the value at finite n_beta is known up to 6 there\.$"
    ):
        reduced_rank_value(7, 8, 9, n_beta=1.0, gamma=1.0)
    with pytest.raises(SettingError, match=r"n_beta is nan; give a finite number\."):
        reduced_rank_value(1, 1, 1, n_beta=float("nan"), gamma=1.0)
    with pytest.raises(SettingError, match=r"^n_beta is 1e\+300 and gamma 1e-300; the value is known where n_beta"):
        reduced_rank_value(1, 1, 1, n_beta=1e300, gamma=1e-300)
    with pytest.raises(SettingError, match=r"^rank is 3; it can be at most the smallest width, 2\.$"):
        reduced_rank_coefficient(3, 2, 3, rank=3)
