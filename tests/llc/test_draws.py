"""What chains may remember of a common start, against exact autocorrelations."""

import math

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.signal import lfilter

from llc_lightning.llc.draws import TAIL, Draws, memory_of, mixing_of

CHAINS, DRAWS, BURN_IN = 16, 10_000, 4000
WORST = (2 / 7) ** 0.4 / (BURN_IN + DRAWS)


def correlated(rates: tuple[float, ...], *, seed: int = 0) -> Draws:
    """Returns sums of as many autoregressive sequences, ``x' = rho x + ..``, of variance 1 each."""
    stream = np.random.default_rng(seed)
    return sum(_sequence(rho, stream) for rho in rates) + np.zeros((CHAINS, DRAWS))


def _sequence(rho: float, stream: np.random.Generator) -> Draws:
    steps = stream.normal(size=(CHAINS, DRAWS)) * math.sqrt(1 - rho**2)
    steps[:, 0] /= math.sqrt(1 - rho**2)
    return lfilter([1.0], [1.0, -rho], steps)


def remembered(rates: tuple[float, ...], burn_in: int = BURN_IN) -> float:
    """Returns the mean of their autocorrelation over the kept draws: what chains begun at the mean of x^2 lack."""
    steps = np.arange(burn_in, burn_in + DRAWS)
    return float(np.mean([rho**steps for rho in rates]))


def memory(draws: Draws, burn_in: int = BURN_IN) -> float:
    return memory_of(draws, mixing_of(draws), burn_in)


@pytest.mark.parametrize("rates", [(0.9,), (0.99,), (0.5, 0.995), (0.0, 0.9, 0.99)])
def test_no_mixture_of_rates_remembers_more_than_is_told(rates: tuple[float, ...]) -> None:
    exact = np.mean([1 / (1 - rho) for rho in rates]) * WORST
    assert memory(correlated(rates)) == pytest.approx(exact, rel=0.3)  # the ESS is known to about 15 %
    assert remembered(rates) <= exact


def test_at_the_worst_rate_all_of_it_is_remembered() -> None:
    rho = 1 - math.log(1 + DRAWS / BURN_IN) / DRAWS
    assert 1 / (1 - rho) * WORST == pytest.approx(remembered((rho,)), rel=0.01)


def test_without_burn_in_it_is_the_share_of_a_correlation_time_and_burn_in_lowers_it() -> None:
    draws = correlated((0.9,))
    shares = [memory(draws, burn_in) for burn_in in (0, 50, 4000, 20_000)]
    mixing = mixing_of(draws)
    ess = min(mixing.ess, draws.var(ddof=1) / mixing.mcse**2)
    assert shares[0] == pytest.approx((1 + draws.size / ess) / 2 / DRAWS)
    assert shares == sorted(shares, reverse=True)


def test_noise_of_heavy_tails_hides_no_memory() -> None:
    slow = correlated((0.98,))
    noisy = slow + 100 * np.random.default_rng(1).standard_t(1, size=slow.shape) * (
        np.random.default_rng(2).random(slow.shape) < 0.01
    )
    assert memory(noisy) > memory(slow) / 2


@pytest.mark.parametrize("shape", [(1, 4), (2, 5), (4, 7), (3, 60), (8, 121), (40, 10)])
def test_the_statistics_are_those_of_arviz(shape: tuple[int, int]) -> None:
    """Over noise, slow and anticorrelated sequences, ties, and draws of which most are equal."""
    stream = np.random.default_rng(shape[1])
    noise = stream.normal(size=shape)
    several = [lfilter([1.0], [1.0, -rho], noise) for rho in (0.0, 0.5, 0.95, -0.9)]
    several += [noise.round(), np.abs(noise) * (noise > 1), noise.cumsum(1), np.exp(5 * noise)]
    for draws in several:
        mixing = mixing_of(draws)
        told = (mixing.ess, mixing.ess_tail, mixing.mcse, *([mixing.rhat] if len(draws) > 1 else []))
        asked = [("ess", {"method": "bulk"}), ("ess", {"method": "tail", "prob": TAIL}), ("mcse", {"method": "mean"})]
        asked += [("rhat", {})] if len(draws) > 1 else []
        for own, (name, how) in zip(told, asked, strict=True):
            with np.errstate(all="ignore"):
                expected = getattr(array_stats, name)(draws, chain_axis=0, draw_axis=1, **how)
            assert own == pytest.approx(float(expected), rel=1e-11, nan_ok=True), (name, how)
