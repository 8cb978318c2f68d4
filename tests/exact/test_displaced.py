"""Quadratics beside their minimum, against figures computed elsewhere and against draws from the posterior."""

import pytest
import torch
from torch import Tensor

from llc_lightning.exact import (
    displaced_slope,
    displaced_value,
    displaced_variance,
    quadratic_value,
    quadratic_variance,
)
from llc_lightning.runtime.errors import SettingError

CURVATURE = [1.0] * 5 + [0.1] * 5 + [0.01] * 5 + [0.0] * 5
RESOLUTION = {"n_beta": 100.0, "gamma": 1.0}


def test_one_weight_beside_its_minimum() -> None:
    value, delta = displaced_value(torch.ones(1, 1), torch.tensor([0.1]), n_beta=1000.0, gamma=1.0)
    assert value == pytest.approx(-4.5004947)
    assert value + delta == pytest.approx(0.4995005)


def test_at_the_minimum_nothing_is_to_be_corrected() -> None:
    value, delta = displaced_value(torch.diag(torch.tensor(CURVATURE)), torch.zeros(20), **RESOLUTION)
    assert delta == 0
    assert value == pytest.approx(quadratic_value(CURVATURE, **RESOLUTION))


def test_it_is_the_mean_over_draws_from_the_posterior() -> None:
    draws = torch.Generator().manual_seed(0)
    root = torch.randn(3, 3, generator=draws, dtype=torch.float64)
    hessian, minimum = root @ root.T, torch.randn(3, generator=draws, dtype=torch.float64)
    covariance = (10.0 * hessian + 2.0 * torch.eye(3)).inverse()
    mean = covariance @ (10.0 * hessian @ minimum)
    w = mean + torch.randn(400_000, 3, generator=draws, dtype=torch.float64) @ torch.linalg.cholesky(covariance).T
    excess = 5.0 * (((w - minimum) @ hessian * (w - minimum)).sum(1) - minimum @ hessian @ minimum)
    value, _ = displaced_value(hessian, minimum, n_beta=10.0, gamma=2.0)
    assert abs(excess.mean().item() - value) <= 3 * excess.std().item() / len(w) ** 0.5
    spread = (excess - excess.mean()).square()
    variance = displaced_variance(hessian, minimum, n_beta=10.0, gamma=2.0)
    assert abs(spread.mean().item() - variance) <= 3 * spread.std().item() / len(w) ** 0.5


def one_weight(at: float) -> tuple[Tensor, Tensor]:
    return torch.ones(1, 1), torch.tensor([at])


@pytest.mark.parametrize(("at", "gamma", "expected"), [(0.1, 1.0, (0.499, 0.499)), (0.3, 100.0, (1.09, 1.11))])
def test_variance_and_slope_hold_where_the_localisation_pulls_little(
    at: float, gamma: float, expected: tuple[float, float]
) -> None:
    variance = displaced_variance(*one_weight(at), n_beta=1000.0, gamma=gamma)
    slope = displaced_slope(*one_weight(at), n_betas=(1000.0, 900.0), gamma=gamma)
    assert (variance, slope) == pytest.approx(expected, abs=5e-3)


def test_at_the_minimum_the_variance_is_that_of_the_quadratic() -> None:
    variance = displaced_variance(torch.diag(torch.tensor(CURVATURE)), torch.zeros(20), **RESOLUTION)
    assert variance == pytest.approx(quadratic_variance(CURVATURE, **RESOLUTION))


def test_the_slope_without_localisation_is_half_the_dimension() -> None:
    hessian = torch.diag(torch.tensor([1.0, 3.0]))
    slope = displaced_slope(hessian, torch.tensor([0.4, -0.2]), n_betas=(10.0, 1000.0), gamma=0.0)
    assert slope == pytest.approx(1.0)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(SettingError, match=r"^n_betas are both 5\.0; give two that differ\.$"):
        displaced_slope(*one_weight(0.1), n_betas=(5.0, 5.0), gamma=1.0)
    with pytest.raises(SettingError, match=r"^minimum has an entry that is not finite; give finite numbers\.$"):
        displaced_value(*one_weight(float("nan")), n_beta=1.0, gamma=1.0)
    with pytest.raises(
        SettingError,
        match=r"^the smallest curvature is -1; with n_beta 2\.0 and gamma 1\.0 there is a posterior above -0\.5\.$",
    ):
        displaced_value(-torch.ones(1, 1), torch.zeros(1), n_beta=2.0, gamma=1.0)
