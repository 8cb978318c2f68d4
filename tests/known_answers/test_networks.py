"""Networks whose learning coefficients are known, and displaced minima."""

import math

import pytest
import torch

from llc_lightning.exact import (
    deep_linear_coefficient,
    displaced_slope,
    displaced_value,
    displaced_variance,
    quadratic_value,
    reduced_rank_value,
    superposition_coefficient,
)
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.runtime.batches import Params
from tests.known_answers.losses import ONE_EXAMPLE, deep_linear, population_hessian, superposition


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_deep_linear_network_of_lambda_twelve() -> None:
    """6-4-5 of rank 2, and at finite n_beta: 9 regular directions beside a reduced-rank regression 4-2-3 of rank 0."""
    exact = float(deep_linear_coefficient((6, 4, 5), rank=2).value)
    assert exact == 12.0
    at = {"n_beta": 1e5, "gamma": 10.0}
    finite = 9 + reduced_rank_value(4, 2, 3, **at)
    known = deep_linear()
    record = estimate_llc(
        known.loss, known.params, known.data, **at, sampler="lm", step_size=8e-6, chains=64, burn_in=12_000,
        draws=4_000, curvature_examples=1,
    )  # fmt: skip
    assert abs(record.value - exact) <= 0.02 * exact
    assert abs(record.value - finite) <= 3 * record.stderr
    assert record.stderr < 0.005 * exact


@pytest.mark.parametrize(("sides", "dead"), [(5, "negative"), (5, "positive"), (6, "negative")])
def test_polygons_of_the_toy_model_of_superposition(sides: int, dead: str) -> None:
    """At a strong localisation the value is that of the Hessian at finite n_beta, near the coefficient."""
    known = superposition(6, sides, dead=dead)
    at = {"n_beta": 3e4, "gamma": 300.0}
    curvature = torch.linalg.eigvalsh(population_hessian(superposition(6, sides, dead=dead, dtype=torch.float64)))
    finite = quadratic_value(curvature.clamp(min=0).tolist(), **at)
    coefficient = float(superposition_coefficient(6, sides, dead=dead).value)
    assert abs(finite - coefficient) < 0.12 * coefficient
    record = estimate_llc(
        known.loss, known.params, known.data, **at, sampler="lm", chains=64, burn_in=500, draws=1000,
    )  # fmt: skip
    assert abs(record.value - finite) <= 3 * record.stderr
    assert record.stderr < 0.02 * finite


def displaced(mu: float, gamma: float, n_beta: float) -> tuple[float, float, str, dict[str, float]]:
    """Returns the mean with Delta, its error, the status, and all estimates of a displaced weight among 8 others."""
    minimum = torch.zeros(9)
    minimum[0] = mu

    def loss(params: Params, batch: torch.Tensor) -> torch.Tensor:
        return (params["w"] - minimum).square().sum() / 2 + 0 * batch

    records = estimate_llc(
        loss, {"w": torch.zeros(9)}, ONE_EXAMPLE, n_beta=[0.9 * n_beta, n_beta], gamma=gamma, sampler="lm",
        step_size=0.5 / n_beta, chains=64, burn_in=100, draws=800,
    )  # fmt: skip
    record = records[1]
    estimates = {name: found.value for name, found in record.estimates.items()}
    return record.corrected, record.stderr, record.status, estimates


def test_delta_corrects_a_displaced_minimum_and_the_others_need_no_correction_where_gamma_mu2_is_small() -> None:
    n_beta, mu, gamma = 1000.0, 0.1, 1.0
    corrected, stderr, status, estimates = displaced(mu, gamma, n_beta)
    hessian, minimum = torch.eye(9), torch.tensor([mu, *[0.0] * 8])
    value, delta = displaced_value(hessian, minimum, n_beta=n_beta, gamma=gamma)
    anchored = value + delta
    assert abs(corrected - anchored) <= 0.05 * anchored
    assert abs(corrected - anchored) <= 3 * stderr
    assert "not-a-minimum" in status
    at = {"n_beta": n_beta, "gamma": gamma}
    assert estimates["variance"] == pytest.approx(displaced_variance(hessian, minimum, **at), rel=0.05)
    assert estimates["variance"] == pytest.approx(anchored, rel=0.05)
    exact = displaced_slope(hessian, minimum, n_betas=(0.9 * n_beta, n_beta), gamma=gamma)
    assert estimates["slope"] == pytest.approx(exact, rel=0.2)


def test_a_minimum_that_is_far_in_units_of_the_localisation_is_flagged() -> None:
    _, _, status, estimates = displaced(0.3, 100.0, 1000.0)
    assert "not-a-minimum" in status
    assert math.isfinite(estimates["mean"])
