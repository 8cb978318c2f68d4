"""Covariances over chains against their definition, and their errors against many repeats."""

import numpy as np
import pytest
from scipy.stats import t

from llc_lightning.llc.covariance import covariance, jackknife
from llc_lightning.runtime.errors import SettingError


def test_it_is_the_covariance_of_all_draws_but_for_the_bias_of_their_mean() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(4, 500, 3)), rng.normal(size=(4, 500, 2))
    found = covariance(one, other + one[..., :2])
    flat = np.cov(np.concatenate([one, other + one[..., :2]], -1).reshape(-1, 5).T)[:3, 3:]
    np.testing.assert_allclose(found.value, flat, atol=2e-3)


def test_a_large_common_part_rounds_nothing_away() -> None:
    draws = np.random.default_rng(1).normal(size=(3, 50, 2))
    np.testing.assert_allclose(covariance(draws + 1e9, draws).value, covariance(draws, draws).value, rtol=1e-5)


def test_its_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    held = []
    for _ in range(200):
        draws = rng.normal(size=(6, 40, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
        found = covariance(draws, draws)
        held.append(abs(found.value[0, 1] - 0.6) < t.ppf(0.95, 5) * found.stderr[0, 1])
    assert 0.84 <= np.mean(held) <= 0.96


def test_the_jackknife_takes_out_a_bias_of_first_order() -> None:
    means = np.array([1.0, 2.0, 4.0, 9.0])
    found = jackknife(lambda kept: np.square(means[kept].mean()), 4)
    assert float(found.value) == pytest.approx(means.mean() ** 2 - means.var(ddof=1) / 4)


def test_one_chain_has_a_value_and_no_error() -> None:
    draws = np.random.default_rng(3).normal(size=(1, 50, 2))
    found = covariance(draws, draws)
    assert np.isfinite(found.value).all()
    assert np.isnan(found.stderr).all()


@pytest.mark.parametrize("shape", [(2, 5), (3, 5, 1), (2, 0, 1)])
def test_other_draws_are_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match=r"draws of shape .* have no covariance; .*"):
        covariance(np.zeros(shape), np.zeros((2, 5, 1)))
