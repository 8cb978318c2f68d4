"""Quadratics at their minimum, against figures computed elsewhere and against the recursions step by step."""

import numpy as np
import pytest
import torch

from llc_lightning.exact import (
    quadratic_coefficient,
    quadratic_lm_value,
    quadratic_sgld_value,
    quadratic_value,
    quadratic_variance,
)
from llc_lightning.runtime.errors import SettingError

CURVATURE = [1.0] * 5 + [0.1] * 5 + [0.01] * 5 + [0.0] * 5
RESOLUTION = {"n_beta": 100.0, "gamma": 1.0}


def test_each_curved_direction_gives_half_less_what_the_localisation_holds() -> None:
    assert quadratic_value(CURVATURE, **RESOLUTION) == pytest.approx(5.99797480, abs=1e-8)


@pytest.mark.parametrize(
    ("noise", "expected"),
    [(0.0, (6.06898635, 6.90464396, 8.66812872)), (50.0, (6.14484868, 7.76772445, 10.83516090))],
)
def test_the_bias_of_three_step_sizes(noise: float, expected: tuple[float, ...]) -> None:
    values = [
        quadratic_sgld_value(CURVATURE, **RESOLUTION, step_size=step, gradient_noise=noise)
        for step in (0.001, 0.01, 0.02)
    ]
    assert values == pytest.approx(expected, abs=1e-7)


def test_a_vanishing_step_size_has_no_bias() -> None:
    value = quadratic_sgld_value(CURVATURE, **RESOLUTION, step_size=1e-12, gradient_noise=50.0)
    assert value == pytest.approx(quadratic_value(CURVATURE, **RESOLUTION))


def test_the_way_to_equilibrium_follows_the_recursion_of_the_variance() -> None:
    step, noise, a = 0.01, 7.0, 100.0 * 0.1 + 1.0
    variance, expected = 0.0, []
    for _ in range(6):
        expected.append(100.0 * 0.1 * variance / 2)
        variance = (1 - step * a / 2) ** 2 * variance + step + step**2 * noise / 4
    for draws in (range(1), range(1, 2), range(6), range(2, 5)):
        value = quadratic_sgld_value([0.1], **RESOLUTION, step_size=step, gradient_noise=noise, draws=draws)
        assert value == pytest.approx(sum(expected[t] for t in draws) / len(draws))
    late = quadratic_sgld_value([0.1], **RESOLUTION, step_size=step, draws=range(9000, 9001))
    assert late == pytest.approx(quadratic_sgld_value([0.1], **RESOLUTION, step_size=step))


def test_beyond_the_limit_of_stability_there_is_no_value() -> None:
    with pytest.raises(SettingError, match=r"step_size is 0\.05; SGLD is stable below 0\.039604 on this quadratic\."):
        quadratic_sgld_value(CURVATURE, **RESOLUTION, step_size=0.05)


@pytest.mark.parametrize(("noise", "expected"), [(0.0, [5.99797480] * 3), (50.0, [6.0738, 6.8611, 8.1650])])
def test_the_leimkuhler_matthews_method_has_a_bias_from_gradient_noise_alone(
    noise: float, expected: list[float]
) -> None:
    values = [
        quadratic_lm_value(CURVATURE, **RESOLUTION, step_size=step, gradient_noise=noise)
        for step in (0.001, 0.01, 0.02)
    ]
    assert values == pytest.approx(expected, abs=5e-5)


def lm_variance(steps: int, *, rho: float, eps: float, noise: float) -> float:
    """The variance after so many steps from 0, from how far each draw still counts."""
    if steps == 0:
        return 0.0
    ages = rho ** np.arange(steps)
    # The first and the last noise count in one step, those between in two that follow each other.
    weights = np.concatenate([[ages[0]], ages[1:] + ages[:-1], [ages[-1]]]) * eps**0.5 / 2
    return float((weights**2).sum() + (ages**2).sum() * eps**2 * noise / 4)


def test_the_way_of_leimkuhler_and_matthews_to_equilibrium() -> None:
    step, a, p = 0.01, 100.0 * 0.1 + 1.0, 3.0
    rho = 1 - step * p * a / 2
    for draws in (range(1), range(1, 2), range(2, 3), range(6), range(3, 9)):
        expected = [100.0 * 0.1 / 2 * lm_variance(t, rho=rho, eps=step * p, noise=7.0) for t in draws]
        value = quadratic_lm_value(
            [0.1], **RESOLUTION, step_size=step, gradient_noise=7.0, draws=draws, preconditioner=[p]
        )
        assert value == pytest.approx(sum(expected) / len(expected), rel=1e-12)
    late = quadratic_lm_value([0.1], **RESOLUTION, step_size=step, gradient_noise=7.0, draws=range(9000, 9001))
    assert late == pytest.approx(quadratic_lm_value([0.1], **RESOLUTION, step_size=step, gradient_noise=7.0))


@pytest.mark.parametrize("value", [quadratic_sgld_value, quadratic_lm_value])
def test_a_preconditioner_gives_each_weight_its_own_step(value: type[quadratic_sgld_value]) -> None:
    together = value([1.0, 0.1], **RESOLUTION, step_size=0.002, gradient_noise=9.0, preconditioner=[2.0, 15.0])
    apart = [value([h], **RESOLUTION, step_size=step, gradient_noise=9.0) for h, step in ((1.0, 0.004), (0.1, 0.030))]
    assert together == pytest.approx(sum(apart), rel=1e-12)


def test_the_variance_is_that_of_draws_from_the_posterior() -> None:
    assert quadratic_variance([1.0] * 4, n_beta=1e9, gamma=1.0) == pytest.approx(2)
    w = torch.randn(400_000, 2, dtype=torch.float64) / torch.tensor([5.0, 3.0], dtype=torch.float64).sqrt()
    energy = (w.square() * torch.tensor([4.0, 2.0])).sum(1) / 2
    spread = (energy - energy.mean()).square()
    value = quadratic_variance([2.0, 1.0], n_beta=2.0, gamma=1.0)
    assert abs(spread.mean().item() - value) <= 3 * spread.std().item() / len(w) ** 0.5


def test_the_coefficient_is_half_the_rank() -> None:
    found = quadratic_coefficient(CURVATURE)
    assert (found.value, found.multiplicity, found.dimension) == (15 / 2, 1, 20)


def test_a_saddle_has_a_value_where_the_localisation_holds_it() -> None:
    assert quadratic_value([-0.5], n_beta=1.0, gamma=1.0) == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n_beta": -1.0}, r"n_beta is -1\.0; it must be positive\."),
        ({"gamma": float("nan")}, r"gamma is nan; give a finite number\."),
        ({"curvature": []}, r"curvature has no entry; give one for each weight\."),
        ({"curvature": [1.0, float("inf")]}, r"curvature is \[1\.0, inf\]; give finite numbers\."),
        (
            {"curvature": [-2.0]},
            r"the smallest curvature is -2; with n_beta 1\.0 and gamma 1\.0 there is a posterior above -1\.",
        ),
        ({"step_size": 0.0}, r"step_size is 0\.0; it must be positive\."),
        ({"gradient_noise": -1.0}, r"gradient_noise is -1\.0; it must be at least 0\."),
        (
            {"preconditioner": [1.0, 1.0]},
            r"preconditioner has 2 entries; give one for each of the 1 weights\.",
        ),
        ({"preconditioner": [0.0]}, r"an entry of preconditioner is 0\.0; it must be positive\."),
        (
            {"preconditioner": [20.0]},
            r"step_size is 0\.1; the Leimkuhler-Matthews method is stable below 0\.1 on this quadratic\.",
        ),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], sentence: str) -> None:
    settings = {"curvature": [1.0], "n_beta": 1.0, "gamma": 1.0, "step_size": 0.1, **change}
    with pytest.raises(SettingError, match=f"^{sentence}$"):
        quadratic_lm_value(**settings)


def test_a_minimum_has_no_negative_curvature() -> None:
    with pytest.raises(SettingError, match=r"^the smallest curvature is -1; a minimum has none below 0\.$"):
        quadratic_coefficient([1.0, -1.0])
