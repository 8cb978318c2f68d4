"""Estimates on localised quadratics meet the closed form, the bias of the step size included."""

import math

import pytest
import torch

from llc_lightning.exact import displaced_value, quadratic_sgld_value, quadratic_value
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from tests.known_answers.losses import CURVATURE, Known, noisy_quadratic, quadratic, rotated_quadratic
from tests.known_answers.repeats import CHAINS, REPEATS, repeats_of

RESOLUTION = {"n_beta": 100.0, "gamma": 1.0}
SEEDS = range(5)
BATCH_SIZE = 8
GRADIENT_NOISE = 50.0
SPREAD = math.sqrt(GRADIENT_NOISE * BATCH_SIZE) / RESOLUTION["n_beta"]
# Burn-in and draws: the slowest direction that counts has n_beta h + gamma = 2.
LENGTHS = {0.005: (600, 800), 0.01: (400, 800), 0.02: (200, 800)}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def estimate(known: Known, **settings: object) -> LLCRecord:
    return estimate_llc(
        known.loss, known.params, known.data, **{**RESOLUTION, "sampler": "sgld", "chains": CHAINS, **settings}
    )


def assert_meets(record: LLCRecord, exact: float) -> None:
    assert abs(record.value - exact) <= 3 * record.stderr
    assert record.stderr < 0.02 * exact


@pytest.mark.parametrize("step_size", LENGTHS)
@pytest.mark.parametrize("batch_size", [None, BATCH_SIZE], ids=["full batch", "minibatches"])
def test_at_three_step_sizes(step_size: float, batch_size: int | None) -> None:
    burn_in, draws = LENGTHS[step_size]
    record = estimate(
        noisy_quadratic(SPREAD) if batch_size else quadratic(), step_size=step_size, burn_in=burn_in, draws=draws,
        batch_size=batch_size, chains=REPEATS * CHAINS, seed=1,
    )  # fmt: skip
    noise = GRADIENT_NOISE if batch_size else 0.0
    exact = quadratic_sgld_value(CURVATURE, **RESOLUTION, step_size=step_size, gradient_noise=noise)
    for repeat in repeats_of(record):
        assert_meets(repeat, exact)
    if batch_size is None:
        assert exact > 1.05 * quadratic_value(CURVATURE, **RESOLUTION)
        assert record.status == "step-bias", "a bias of more than 5 % is told"
        assert record.predicted_bias == pytest.approx(exact - quadratic_value(CURVATURE, **RESOLUTION), rel=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rank_deficient_quadratic(seed: int) -> None:
    known, hessian, _ = rotated_quadratic(40, 13)
    record = estimate(known, step_size=0.004, burn_in=100, draws=500, seed=seed)
    curvature = torch.linalg.eigvalsh(hessian).clamp(min=0).tolist()
    assert_meets(record, quadratic_sgld_value(curvature, **RESOLUTION, step_size=0.004))


@pytest.mark.parametrize("seed", SEEDS)
def test_on_the_way_to_equilibrium_too(seed: int) -> None:
    record = estimate(quadratic(), step_size=0.002, burn_in=5, draws=40, chains=512, seed=seed)
    exact = quadratic_sgld_value(CURVATURE, **RESOLUTION, step_size=0.002, draws=range(5, 45))
    assert abs(record.value - exact) <= 3 * record.stderr
    assert record.stderr < 0.02 * exact


@pytest.mark.parametrize("seed", SEEDS)
def test_the_value_with_its_correction_is_that_of_the_minimum(seed: int) -> None:
    known, hessian, mu = rotated_quadratic(20, 20, displaced_by=0.3, seed=seed)
    record = estimate(known, step_size=0.002, burn_in=200, draws=500, seed=seed)
    value, delta = displaced_value(hessian, mu, **RESOLUTION)
    assert record.correction == pytest.approx(delta, rel=1e-3)
    bias = quadratic_sgld_value(torch.linalg.eigvalsh(hessian).tolist(), **RESOLUTION, step_size=0.002) - (
        value + delta
    )
    assert abs(record.corrected - (value + delta) - bias) <= 3 * record.stderr
    assert record.stderr < 0.02 * (value + delta)
    assert record.status == "not-a-minimum"
