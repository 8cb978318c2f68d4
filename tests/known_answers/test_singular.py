"""The automatic step size on losses whose curvature at the minimum says little; their values are in test_cases."""

import math

import pytest
import torch
from torch import Tensor

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.batches import Params
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
SEEDS = range(5)

SINGULAR = {"w^4": quartic(), "(w1 w2)^2": crossing(), "reduced rank (2, 2, 2)": reduced_rank()}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def estimate(known: Known, **settings: object) -> LLCRecord:
    return estimate_llc(known.loss, known.params, known.data, **{**RESOLUTION, **settings})


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "known",
    [quadratic(), noisy_quadratic(0.2), rotated_quadratic(40, 13)[0], *SINGULAR.values()],
    ids=["quadratic", "noisy quadratic", "rank-deficient quadratic", *SINGULAR],
)
def test_the_automatic_step_size_keeps_chains_finite(known: Known, seed: int) -> None:
    batch_size = 8 if len(known.data) > 1 else None
    record = estimate(known, chains=8, burn_in=100, draws=300, seed=seed, batch_size=batch_size)
    assert math.isfinite(record.value)
    assert record.healthy_chains == 8


def test_a_chain_that_dies_in_burn_in_makes_the_step_smaller() -> None:
    def loss(params: Params, batch: Tensor) -> Tensor:
        return params["w"].prod().square() + 0 * batch

    record = estimate_llc(loss, {"w": torch.zeros(3)}, torch.zeros(1), n_beta=1e4, gamma=1.0, seed=3)
    assert record.healthy_chains == 8
    assert math.isfinite(record.value)


def test_a_step_near_the_limit_of_stability_is_made_smaller() -> None:
    """Steps twice as large go to where the scaled loss is hundreds, and the mean is 1.75 +- .26."""
    record = estimate(reduced_rank(), seed=3)
    assert record.status == "ok"
    assert record.n_beta * record.excess.max() < 25 * record.dimension
    assert record.value == pytest.approx(1.3563, abs=4 * record.stderr)
    assert record.stderr < 0.1 * record.value
