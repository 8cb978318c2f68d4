"""Intervals hold the exact value as often as they say, in repeats of eight chains each.

The repeats run together, as one large set of chains: every chain has streams of its own, so that a set of eight of them
has the bits of an estimate by itself, as the first test says.
"""

import math

import pytest
import torch
from torch import Tensor

from llc_lightning.exact import quadratic_sgld_value
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.batches import Params
from tests.known_answers.repeats import repeats_of, without_mixing  # noqa: F401 - a fixture

REPEATS, CHAINS, BURN_IN, DRAWS = 300, 8, 30, 60
AT = {"n_beta": 100.0, "gamma": 20.0}
STEP_SIZE, BATCH_SIZE, GRADIENT_NOISE = 0.01, 8, 100.0
EVERYTHING, COMPONENT = slice(0, 4), slice(1, 3)
HESSIAN = torch.tensor([[1.0, 0.2, 0.0, 0.1], [0.2, 0.6, 0.3, 0.0], [0.0, 0.3, 0.8, 0.2], [0.1, 0.0, 0.2, 0.3]])
# Every combination of signs along the four weights: the gradient's noise is the same in every direction.
SIGNS = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
NOISE = SIGNS * math.sqrt(GRADIENT_NOISE * BATCH_SIZE) / AT["n_beta"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def loss(params: Params, batch: Tensor) -> Tensor:
    w = params["w"]
    return w @ HESSIAN @ w / 2 + batch @ w


def estimate(some: slice, batch_size: int | None, **settings: int) -> LLCRecord:
    moved = torch.zeros(4, dtype=torch.bool)
    moved[some] = True
    return estimate_llc(
        loss, {"w": torch.zeros(4)}, NOISE, **AT, moved={"w": moved}, step_size=STEP_SIZE, burn_in=BURN_IN,
        draws=DRAWS, batch_size=batch_size, curvature_examples=1, sampler="sgld", **settings,
    )  # fmt: skip


def test_a_repeat_among_others_is_the_estimate_by_itself() -> None:
    together = repeats_of(estimate(COMPONENT, BATCH_SIZE, chains=3 * CHAINS), CHAINS)
    for number, among in enumerate(together):
        alone = estimate(COMPONENT, BATCH_SIZE, chains=CHAINS, replicate=number)
        assert (alone.value, alone.stderr, alone.interval()) == (among.value, among.stderr, among.interval())


@pytest.mark.usefixtures("without_mixing")
@pytest.mark.parametrize("some", [EVERYTHING, COMPONENT], ids=["everything", "a component"])
@pytest.mark.parametrize("batch_size", [None, BATCH_SIZE], ids=["full batch", "minibatches"])
def test_ninety_percent_intervals_cover_the_exact_value_ninety_percent_of_the_time(
    some: slice, batch_size: int | None
) -> None:
    exact = quadratic_sgld_value(
        torch.linalg.eigvalsh(HESSIAN[some, some]).tolist(),
        **AT,
        step_size=STEP_SIZE,
        gradient_noise=GRADIENT_NOISE if batch_size else 0.0,
    )
    found = repeats_of(estimate(some, batch_size, chains=REPEATS * CHAINS), CHAINS)
    covered = sum(low <= exact <= high for low, high in (record.interval(0.9) for record in found))
    assert 0.84 <= covered / len(found) <= 0.96, covered / len(found)
