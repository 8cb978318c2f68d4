"""Estimators against closed forms, on draws that are made independently of any sampler."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from llc_lightning.llc.draws import error_of, mixing_of
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.estimators import ESTIMATORS, Estimate, KeptDraws, slope, stein_gap
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.batches import Params

N_BETA, GAMMA, CHAINS, DRAWS = 50.0, 2.0, 16, 400
CURVATURE = np.array([1.0, 0.3, 0.05, 0.0])
SCALED = N_BETA * CURVATURE
PRECISION = SCALED + GAMMA


def gaussian(*, heat: float = 1.0, n_beta: float = N_BETA) -> np.ndarray:
    """Returns independent weights of the posterior of a quadratic, [chain, draw, weight], at a temperature."""
    noise = np.random.default_rng(0).standard_normal((CHAINS, DRAWS, len(CURVATURE)))
    return noise * np.sqrt(heat / (n_beta * CURVATURE + GAMMA))


def sampled(w: np.ndarray, **more: object) -> KeptDraws:
    share = SCALED / PRECISION
    virial = (share * w * (PRECISION * w)).sum(-1)
    return KeptDraws(
        (SCALED * w**2).sum(-1) / 2, N_BETA, **{"minibatch": False, "virial": virial, "trace": share.sum(), **more}
    )


def value(name: str, draws: KeptDraws) -> Estimate:
    found = ESTIMATORS.get(name).item(draws)
    assert found is not None
    return found


def assert_near(found: Estimate, exact: float) -> None:
    assert abs(found.value - exact) <= 3 * found.stderr
    assert found.stderr < 0.1 * exact


def test_the_mean() -> None:
    assert_near(value("mean", sampled(gaussian())), (SCALED / PRECISION).sum() / 2)


def test_the_variance() -> None:
    assert_near(value("variance", sampled(gaussian())), ((SCALED / PRECISION) ** 2).sum() / 2)


def test_the_variance_without_the_noise_of_minibatches() -> None:
    draws = np.random.default_rng(1)
    loss = 2.0 * draws.standard_normal((64, 400))
    pair = tuple(loss + math.sqrt(40) * draws.standard_normal(loss.shape) for _ in range(2))
    found = value("variance", KeptDraws(pair[0], N_BETA, minibatch=True, pair=pair))
    assert_near(found, 4.0)
    assert ESTIMATORS.get("variance").item(KeptDraws(pair[0], N_BETA, minibatch=True)) is None


@pytest.mark.parametrize("minibatch", [False, True])
def test_the_variance_of_few_correlated_draws_has_no_bias_and_its_intervals_cover(minibatch: bool) -> None:
    """Twelve draws in each of four chains: without its corrections it is 6 % too low, and 20 % of intervals miss."""
    repeats, chains, draws, dimension = 300, 4, 12, 8
    w = np.random.default_rng(5).standard_normal((draws, repeats * chains, dimension))
    for i in range(1, draws):
        w[i] = 0.7 * w[i - 1] + math.sqrt(1 - 0.7**2) * w[i]
    loss = (w**2).sum(-1).T / 2
    noise = np.random.default_rng(6).standard_normal((2, *loss.shape))
    found = []
    for part in np.split(np.arange(repeats * chains), repeats):
        pair = (loss[part] + noise[0, part], loss[part] + noise[1, part])
        found.append(
            value("variance", KeptDraws(loss[part], 1.0, minibatch=minibatch, pair=pair if minibatch else None))
        )
    values = np.array([one.value for one in found])
    reach = np.array([one.stderr for one in found]) * stats.t.ppf(0.95, chains - 1)
    assert abs(values.mean() - dimension / 2) <= 3 * values.std() / math.sqrt(repeats)
    assert 0.84 <= (abs(values - dimension / 2) <= reach).mean() <= 0.97


def test_the_variance_of_minibatch_chains_is_that_of_the_full_batch() -> None:
    full, part = (fitted(draws=1000, batch_size=size, watched_examples=0) for size in (None, 200))
    whole, found = full.estimates["variance"], part.estimates["variance"]
    assert abs(found.value - whole.value) <= 3 * math.hypot(found.stderr, whole.stderr)
    assert found.stderr < 0.3 * whole.value


def test_stein_has_no_error_on_a_quadratic_also_when_the_chains_are_too_hot() -> None:
    exact = (SCALED / PRECISION).sum() / 2
    for heat in (0.5, 1.0, 1.5):
        draws = sampled(gaussian(heat=heat))
        assert value("stein", draws).value == pytest.approx(exact, rel=1e-12)
        gap = stein_gap(draws)
        assert gap is not None
        assert gap.value == pytest.approx((1 - heat) * exact, abs=3 * gap.stderr)
        assert gap.value + value("mean", draws).value == pytest.approx(exact, abs=1e-9)


def test_stein_needs_a_curvature() -> None:
    assert ESTIMATORS.get("stein").item(sampled(gaussian(), virial=None)) is None
    assert ESTIMATORS.get("stein").item(sampled(gaussian(), trace=0.0)) is None


def test_the_first_order_term_takes_away_noise_and_nothing_else() -> None:
    noise = 30 * np.random.default_rng(2).standard_normal((CHAINS, DRAWS))
    clean = sampled(gaussian())
    noisy = KeptDraws(clean.scaled + noise, N_BETA, minibatch=True, first_order=noise)
    assert value("first_order", noisy).value == pytest.approx(value("mean", clean).value)
    assert value("first_order", noisy).stderr < 0.2 * value("mean", noisy).stderr
    assert ESTIMATORS.get("first_order").item(clean) is None


def test_the_slope_between_two_temperatures_needs_no_baseline() -> None:
    other = 20.0
    below = (other * CURVATURE * gaussian(n_beta=other) ** 2).sum(-1).mean(1) / 2
    above = sampled(gaussian()).scaled.mean(1)
    found = slope((other, below + other * 3.0), (N_BETA, above + N_BETA * 3.0))
    at = [(CURVATURE / (n_beta * CURVATURE + GAMMA)).sum() / 2 for n_beta in (other, N_BETA)]
    assert_near(found, (at[0] - at[1]) / (1 / other - 1 / N_BETA))
    assert found.value == pytest.approx(slope((other, below), (N_BETA, above)).value)


def regression(n: int = 2000, d: int = 5) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=draws)
    return x, x.sum(1) + torch.randn(n, generator=draws)


def gaussian_loss(params: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    return (y - x @ params["w"]).square() / 2


def fitted(**settings: object) -> LLCRecord:
    x, y = regression(1000)
    w = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    return estimate_llc(
        gaussian_loss, {"w": w}, (x, y), **{
            "n_beta": len(x) / math.log(len(x)), "gamma": 1.0, "sampler": "lm", "chains": 32, "draws": 500,
            "watched_examples": 1000, **settings,
        },
    )  # fmt: skip


@pytest.mark.parametrize("size", [1000, 4096])
def test_a_batch_as_large_as_the_data_is_all_of_them(size: int) -> None:
    data, params = regression(1000), {"w": torch.zeros(5)}
    whole, found = (
        estimate_llc(gaussian_loss, params, data, n_beta=10.0, gamma=1.0, chains=2, draws=10, batch_size=batch)
        for batch in (None, size)
    )
    assert (found.value, found.settings) == (whole.value, whole.settings)


def test_the_functional_variance_of_a_regular_model_is_half_its_dimension() -> None:
    record = fitted()
    found = record.estimates["functional_variance"]
    assert abs(found.value - 2.5) <= 3 * found.stderr + 0.05 * 2.5
    assert found.stderr < 0.05 * 2.5


def test_the_wbic_is_the_free_energy_at_its_own_temperature_alone() -> None:
    record = fitted()
    n = record.n_examples
    assert record.wbic == pytest.approx(n * record.loss + math.log(n) * record.value)
    assert math.isnan(fitted(n_beta=100.0).wbic)


def test_estimates_of_minibatch_chains_agree() -> None:
    record = fitted(batch_size=64, draws=800, estimator="first_order", watched_examples=0)
    first, mean = record.estimates["first_order"], record.estimates["mean"]
    assert (record.value, record.stderr) == (first.value, first.stderr)
    assert abs(first.value - mean.value) <= 3 * math.hypot(first.stderr, mean.stderr)
    assert {"mean", "first_order", "stein", "variance"} <= set(record.estimates)
    variance = record.estimates["variance"]
    reach = stats.t.ppf(0.95, 31) * variance.stderr
    assert record.interval(of="variance") == pytest.approx((variance.value - reach, variance.value + reach))


def test_a_ladder_brings_slopes() -> None:
    x, y = regression()
    w = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    records = estimate_llc(gaussian_loss, {"w": w}, (x, y), n_beta=[400.0, 100.0], gamma=0.1, sampler="lm", chains=32)
    found = records[0].estimates["slope"]
    assert abs(found.value - 2.5) <= 3 * found.stderr + 0.02
    assert "slope" not in records[1].estimates


def test_errors_are_the_larger_of_two() -> None:
    draws = np.random.default_rng(3).standard_normal((4, 100))
    assert error_of(draws + 10 * np.arange(4)[:, None]) == pytest.approx(
        (draws.mean(1) + 10 * np.arange(4)).std(ddof=1) / 2
    )
    assert error_of(draws) >= mixing_of(draws).mcse
    assert math.isnan(error_of(draws[:1]))


def test_the_nested_rhat_tells_of_groups_of_chains_that_differ() -> None:
    draws = np.random.default_rng(4).standard_normal((64, 20))
    assert mixing_of(draws).rhat_nested < 1.02
    assert mixing_of(draws + np.repeat(np.arange(8), 8)[:, None]).rhat_nested > 1.5
    assert math.isnan(mixing_of(draws[:15]).rhat_nested)
