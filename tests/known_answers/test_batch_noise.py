"""What the noise of minibatches adds to a value, against the closed form, and the reason against it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from llc_lightning.exact.quadratic import quadratic_lm_value, quadratic_sgld_value
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.batches import Params
from tests.known_answers.losses import CURVATURE, Known, noisy_quadratic

AT = {"n_beta": 100.0, "gamma": 5.0}
BATCH, SPREAD, CHAINS = 16, 0.5, 16
NOISE = (AT["n_beta"] * SPREAD) ** 2 / BATCH
"""The variance of n_beta times a minibatch gradient: examples are drawn with replacement."""
SCATTER = 3 * math.sqrt(2 / (4 * CHAINS * len(CURVATURE)))
"""Three errors of a variance that 4 looks at 16 chains see in 20 directions."""


def estimate(known: Known, **settings: Any) -> LLCRecord:
    torch.set_num_threads(1)
    usual = {**AT, "sampler": "lm", "step_size": 0.004, "batch_size": BATCH, "draws": 400, "chains": CHAINS}
    return estimate_llc(known.loss, known.params, known.data, **{**usual, **settings})


@pytest.mark.parametrize(("sampler", "exact"), [("lm", quadratic_lm_value), ("sgld", quadratic_sgld_value)])
@pytest.mark.parametrize("step_size", [0.002, 0.006])
def test_it_is_what_the_closed_form_adds(sampler: str, exact: Callable[..., float], step_size: float) -> None:
    added = exact(CURVATURE, **AT, step_size=step_size, gradient_noise=NOISE) - exact(
        CURVATURE, **AT, step_size=step_size
    )
    record = estimate(noisy_quadratic(SPREAD), sampler=sampler, step_size=step_size)
    assert added * (1 - SCATTER) < record.noise_bias < added * (1 + SCATTER)
    assert "batch-noise" in record.status


def test_a_little_from_the_step_and_a_little_from_minibatches_are_told_together() -> None:
    """Each adds less than 5 % of the value, and both more."""
    run = {"sampler": "sgld", "step_size": 0.0015, "draws": 1000}
    known = noisy_quadratic(0.34, (1.0,) * 20)
    both, stepped = estimate(known, **run), estimate(known, batch_size=None, **run)
    assert both.predicted_bias < 0.05 * (both.value - both.predicted_bias)
    assert both.noise_bias < 0.05 * (both.value - both.noise_bias)
    assert both.predicted_bias + both.noise_bias > 0.05 * both.value
    assert stepped.status == "ok"
    assert both.status in {"step-bias", "batch-noise"}


@pytest.mark.parametrize("share", [1, 1 / 64])
def test_in_one_direction_and_by_rare_examples_the_error_tells_how_well_it_is_known(share: float) -> None:
    """The noise is that of one weight, or of a few of many examples: its square has a long tail."""
    known = noisy_quadratic(3.0, (1.0,), n=512)
    known.data[int(512 * share) :] = 0
    noise = (AT["n_beta"] * 3.0) ** 2 * share / BATCH
    run = {**AT, "step_size": 0.004}
    added = quadratic_lm_value([1.0], **run, gradient_noise=noise) - quadratic_lm_value([1.0], **run)
    record = estimate(known, chains=32)
    assert abs(record.noise_bias - added) < 3 * record.noise_bias_stderr
    assert "batch-noise" in record.status


def test_a_diagonal_is_allowed_for() -> None:
    diagonal = [1 / (AT["n_beta"] * h + AT["gamma"]) for h in CURVATURE]
    run = {"step_size": 0.2, "preconditioner": diagonal}
    added = quadratic_lm_value(CURVATURE, **AT, **run, gradient_noise=NOISE) - quadratic_lm_value(
        CURVATURE, **AT, **run
    )
    record = estimate(noisy_quadratic(SPREAD), step_size=0.2, preconditioner="hutchinson")
    # All directions relax alike. Which share of the noise can be felt is known from 8 chains, in some 7 directions.
    assert record.noise_bias == pytest.approx(added, rel=3 * math.sqrt(2 / 56))


def test_of_a_component_it_is_that_of_its_own_weights() -> None:
    known = noisy_quadratic(SPREAD)
    moved = {"w": torch.arange(len(CURVATURE)) < 5}  # the stiff ones
    record = estimate(known, moved=moved)
    run = {**AT, "step_size": 0.004}
    added = quadratic_lm_value(CURVATURE[:5], **run, gradient_noise=NOISE) - quadratic_lm_value(CURVATURE[:5], **run)
    assert record.noise_bias == pytest.approx(added, rel=2 * SCATTER)


def test_there_is_none_with_all_examples_or_a_control_variate_and_a_thermostat_takes_it_off() -> None:
    known = noisy_quadratic(SPREAD)
    assert estimate(known, batch_size=None).noise_bias == 0
    assert estimate(known, sampler="sgld_cv").noise_bias < 1e-6
    assert math.isnan(estimate(known, sampler="sgnht").noise_bias)


def test_rare_examples_of_steep_loss_are_told() -> None:
    """One example in eight has all of the curvature, so that it depends on the batch."""
    rare = torch.arange(512) % 8 == 0

    def loss(params: Params, batch: torch.Tensor) -> torch.Tensor:
        return 4 * batch * params["w"].square().sum()

    known = Known(loss, {"w": torch.zeros(10)}, rare.float())
    few, many = (estimate(known, batch_size=size, step_size=0.006, draws=1000) for size in (8, None))
    assert many.status == "ok"
    assert few.value > 1.1 * many.value
    assert few.status != "ok"


@pytest.mark.parametrize(("rare", "size"), [(8, 60.0), (160, 10.0)])
def test_rare_examples_among_many_are_told(rare: int, size: float) -> None:
    """Of more examples than are looked at one by one; a sample of them would have none, or a few."""
    known = noisy_quadratic(size, (1.0,) * 5, n=16384)
    known.data[torch.arange(16384) % (16384 // rare) > 0] = 0
    known.data.sub_(known.data.mean(0))
    noise = (AT["n_beta"] ** 2 * known.data.var(0, correction=0).sum().item()) / 5 / BATCH
    run = {**AT, "step_size": 0.004}
    added = quadratic_lm_value([1.0] * 5, **run, gradient_noise=noise) - quadratic_lm_value([1.0] * 5, **run)
    record = estimate(known, chains=8)
    assert abs(record.noise_bias - added) < 3 * record.noise_bias_stderr
    assert record.noise_bias_stderr < record.noise_bias / 3
    assert "batch-noise" in record.status


@pytest.mark.parametrize(("n", "chains", "draws"), [(24, 16, 400), (5000, 8, 4400)])
def test_few_examples_and_ones_of_which_most_are_looked_at_have_their_noise(n: int, chains: int, draws: int) -> None:
    """Of the first a chain would have one or two; of the second the steepest are looked at beside the others."""
    curvatures = (1.0,) * (20 if n < 100 else 5)
    known = noisy_quadratic(1.0, curvatures, n=n)
    known.data.sub_(known.data.mean(0))
    noise = AT["n_beta"] ** 2 * known.data.var(0, correction=0).mean().item() / BATCH
    run = {**AT, "step_size": 0.004}
    added = quadratic_lm_value(curvatures, **run, gradient_noise=noise) - quadratic_lm_value(curvatures, **run)
    assert abs(estimate(known, chains=chains, draws=draws).noise_bias - added) < 0.1 * added


def test_dead_chains_do_not_count() -> None:
    def loss(params: Params, batch: torch.Tensor) -> torch.Tensor:
        """Has no value on the first example beyond some distance."""
        w = params["w"]
        value = w.square().sum() / 2 + batch[:, 1:] @ w
        return torch.where((batch[:, 0] > 0) & (w.norm() > 0.6), torch.nan, value)

    noise = noisy_quadratic(SPREAD, (1.0,) * 10, n=8192).data
    data = torch.cat([torch.arange(len(noise))[:, None] == 0, noise], dim=1)
    record = estimate(Known(loss, {"w": torch.zeros(10)}, data), n_beta=50.0)
    assert 0 < record.healthy_chains < CHAINS
    run = {"n_beta": 50.0, "gamma": AT["gamma"], "step_size": 0.004}
    made = (50.0 * SPREAD) ** 2 / BATCH
    added = quadratic_lm_value([1.0] * 10, **run, gradient_noise=made) - quadratic_lm_value([1.0] * 10, **run)
    assert record.noise_bias == pytest.approx(added, rel=0.3)
