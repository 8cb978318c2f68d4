"""Estimates on singular losses meet the exact values at finite n_beta, extrapolated to a vanishing step size."""

import math
from collections.abc import Callable

import pytest
import torch

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.exact import normal_crossing_value, reduced_rank_value
from llc_lightning.llc.record import LLCRecord
from tests.known_answers.losses import (
    Known,
    crossing,
    noisy_quadratic,
    quadratic,
    quartic,
    reduced_rank,
    rotated_quadratic,
)

RESOLUTION = {"n_beta": 100.0, "gamma": 1.0}
STEP_SIZE = 0.002
SEEDS = range(5)

CASES: dict[str, tuple[Callable[[], Known], float]] = {
    "w^4": (quartic, normal_crossing_value((2,), **RESOLUTION)),
    "(w1 w2)^2": (crossing, normal_crossing_value((1, 1), **RESOLUTION)),
    "reduced rank (2, 2, 2)": (reduced_rank, reduced_rank_value(2, 2, 2, **RESOLUTION)),
}
SINGULAR = pytest.mark.parametrize("name", CASES)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def estimate(known: Known, **settings: object) -> LLCRecord:
    return estimate_llc(known.loss, known.params, known.data, **{**RESOLUTION, **settings})


def extrapolated(known: Known, seed: int) -> tuple[float, float]:
    """Returns ``2 E(eps / 2) - E(eps)``, without the first order of the step size's bias, and its standard error."""
    whole = estimate(known, step_size=STEP_SIZE, chains=64, burn_in=1500, draws=1500, seed=seed)
    half = estimate(known, step_size=STEP_SIZE / 2, chains=64, burn_in=3000, draws=3000, seed=100 + seed)
    return 2 * half.value - whole.value, math.hypot(2 * half.stderr, whole.stderr)


@SINGULAR
def test_exact_values_at_finite_n_beta_on_five_seeds(name: str) -> None:
    make, exact = CASES[name]
    results = [extrapolated(make(), seed) for seed in SEEDS]
    for value, stderr in results:
        assert abs(value - exact) <= 3 * stderr
    mean = sum(value for value, _ in results) / len(results)
    stderr = math.sqrt(sum(error**2 for _, error in results)) / len(results)
    assert abs(mean - exact) <= 3 * stderr
    assert stderr < 0.04 * exact


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "known",
    [quadratic(), noisy_quadratic(0.2), rotated_quadratic(40, 13)[0], *(make() for make, _ in CASES.values())],
    ids=["quadratic", "noisy quadratic", "rank-deficient quadratic", *CASES],
)
def test_the_automatic_step_size_keeps_chains_finite(known: Known, seed: int) -> None:
    batch_size = 8 if len(known.data) > 1 else None
    record = estimate(known, chains=8, burn_in=100, draws=300, seed=seed, batch_size=batch_size)
    assert math.isfinite(record.value)
    assert record.healthy_chains == 8
