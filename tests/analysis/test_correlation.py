"""Rank correlations."""

import numpy as np
import pytest
from scipy import stats

from llc_lightning.analysis.correlation import partial_spearman, spearman
from llc_lightning.runtime.errors import DataError


def correlated(rho: float, n: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, noise = rng.standard_normal((2, n))
    return x, rho * x + np.sqrt(1 - rho**2) * noise


def test_it_is_scipys_with_ties_and_without() -> None:
    x, y = correlated(0.6)
    assert spearman(x, y, permutations=0).rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    x, y = np.round(x), np.round(y)
    assert spearman(x, y, permutations=0).rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_few_pairs_are_permuted_exactly() -> None:
    x = np.arange(5.0)
    perfect = spearman(x, x**3)
    assert (perfect.rho, perfect.low, perfect.high) == (1, 1, 1)
    assert perfect.p == pytest.approx(2 / 120)
    # Orders of 4 with |rho| >= 0.8: rho 1 and -1 once each, 0.8 and -0.8 three times each.
    assert spearman(np.arange(4.0), np.array([0.0, 1.0, 3.0, 2.0])).p == pytest.approx(8 / 24)


def test_the_interval_has_the_known_width() -> None:
    # tanh(artanh(0.8) ± 1.96 sqrt(1.32 / 29))
    ranks = np.arange(32.0)
    x, y = correlated(0.85, seed=3)
    found = spearman(x, y, permutations=0)
    reach = 1.959964 * np.sqrt((1 + found.rho**2 / 2) / 29)
    assert found.low == pytest.approx(np.tanh(np.arctanh(found.rho) - reach))
    assert found.high == pytest.approx(np.tanh(np.arctanh(found.rho) + reach))
    assert spearman(ranks, -ranks, permutations=0).low == -1


def test_intervals_cover() -> None:
    true = 6 / np.pi * np.arcsin(0.8 / 2)  # Spearman's rho of a normal pair with correlation 0.8
    hits = 0
    for seed in range(400):
        found = spearman(*correlated(0.8, seed=seed), level=0.9, permutations=0)
        hits += found.low <= true <= found.high
    assert 0.86 <= hits / 400 <= 0.94


def test_p_values_are_uniform_without_association() -> None:
    ps = [spearman(*correlated(0.0, n=12, seed=seed), permutations=199).p for seed in range(200)]
    assert stats.kstest(ps, "uniform").pvalue > 0.01


def test_the_same_seed_gives_the_same_p() -> None:
    pair = correlated(0.3)
    assert spearman(*pair, seed=1).p == spearman(*pair, seed=1).p


def test_partial_correlation_follows_the_formula() -> None:
    rng = np.random.default_rng(1)
    x, y, z = rng.standard_normal((3, 40))
    x, y = x + z, y - 0.5 * z
    xy, xz, yz = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, z, permutations=0).rho == pytest.approx(expected, abs=1e-12)


def test_a_common_cause_explains_the_correlation_away() -> None:
    rng = np.random.default_rng(2)
    cause, *noise = rng.standard_normal((3, 300))
    x, y = (cause + 0.3 * one for one in noise)
    assert spearman(x, y, permutations=0).rho > 0.85
    left = partial_spearman(x, y, cause, permutations=999)
    assert abs(left.rho) < 0.15
    assert left.p > 0.01
    direct = partial_spearman(x, x + 0.1 * y, cause, permutations=999)
    assert direct.rho > 0.9
    assert direct.p == pytest.approx(0.002)


def test_what_is_undefined_is_nan() -> None:
    x = np.arange(6.0)
    for found in (
        spearman(x, np.ones(6)),
        spearman(x[:3], x[:3]),
        partial_spearman(x, x, x),
        partial_spearman(x[:4], x[:4], x[3::-1]),
    ):
        assert np.isnan([found.rho, found.low, found.high, found.p]).all()
        assert str(found).startswith("undefined")


def test_values_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(DataError, match="1 of 3 values"):
        spearman(np.array([1.0, np.nan, 2.0]), np.arange(3.0))
