"""The statistics of correlated draws, by ArviZ."""

from __future__ import annotations

import functools
import importlib
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Draws: TypeAlias = npt.NDArray[np.float64]

TAIL = (0.05, 0.95)
_SUPERCHAINS = 8


@dataclass(frozen=True)
class Mixing:
    """How well chains mix: R-hat, bulk and tail ESS, and the Monte Carlo standard error of the mean.

    All by Vehtari et al. 2021, arXiv:1903.08008. ``rhat_nested`` (Margossian et al. 2022, arXiv:2110.13017) compares
    groups of chains in place of chains, and is fit for many short ones.
    """

    rhat: float
    rhat_nested: float
    ess: float
    ess_tail: float
    mcse: float

    @classmethod
    def unknown(cls) -> Mixing:
        """Returns NaN throughout."""
        return cls(*(math.nan,) * 5)


def mixing_of(draws: Draws) -> Mixing:
    """Returns how well chains mix, NaN where it cannot be known: one chain, or fewer than 4 draws."""
    if draws.shape[1] < 4:
        return Mixing.unknown()
    if np.ptp(draws) == 0:  # ArviZ calls constant chains perfect in ESS and undefined in R-hat
        return Mixing(1.0, 1.0, float(draws.size), float(draws.size), 0.0)
    return Mixing(
        _arviz("rhat_rank", draws) if len(draws) > 1 else math.nan,
        _nested(draws),
        _arviz("ess_bulk", draws),
        _arviz("ess_tail", draws, prob=TAIL),
        _mcse(draws.tobytes(), draws.shape),
    )


def error_of(draws: Draws) -> float:
    """Returns the standard error of the mean of all draws: the larger of two, NaN for a single chain.

    They are the Monte Carlo error of the draws, and the spread of the chain means over sqrt(chains): the first alone
    covers too little at small batches.
    """
    if len(draws) < 2:
        return math.nan
    between = float(draws.mean(1).std(ddof=1)) / math.sqrt(len(draws))
    return max(between, mcse_of(draws))


def mcse_of(draws: Draws) -> float:
    """Returns the Monte Carlo standard error of the mean, 0 where there are too few draws to know it."""
    if draws.shape[1] < 4 or np.ptp(draws) == 0:
        return 0.0
    mcse = _mcse(draws.tobytes(), draws.shape)
    return 0.0 if math.isnan(mcse) else mcse


def ess_of(draws: Draws) -> float:
    """Returns the effective sample size of the mean; all draws where there are too few to know it."""
    if draws.shape[1] < 4 or np.ptp(draws) == 0:
        return float(draws.size)
    return _arviz("ess_mean", draws)


@functools.lru_cache(maxsize=16)
def _mcse(draws: bytes, shape: tuple[int, ...]) -> float:
    """Returns it; several diagnostics ask for that of the same draws."""
    seen = np.frombuffer(draws).reshape(shape)
    half = seen.shape[1] // 2
    ess = _ess(None, np.concatenate([seen[:, :half], seen[:, -half:]]))
    return float(seen.std(ddof=1)) / math.sqrt(ess)


def memory_of(draws: Draws, mixing: Mixing, burn_in: int) -> float:
    """Returns the largest share of the mean that chains begun at a common point may still lack, by their correlations.

    What is left of the start after t steps is taken for the autocorrelation ``rho(t)`` of the draws, as regressions of
    fluctuations are; for the loss of a quadratic at w* the two are the same, ``(1 - eps b / 2)^2t``. With
    ``sum_t rho(t) = (1 + tau) / 2`` for the integrated autocorrelation time tau = draws / ESS, the mean of rho over the
    T kept draws after B steps of burn-in is the largest where all of it decays at one rate, 1 / s,

        (1 + tau) / (2T) max_s e^(-B/s) (1 - e^(-T/s)) = (1 + tau) / (2 (B + T)) (B / (B + T))^(B/T),

    whatever mixture of rates it is. The ESS is the smaller of that of ranks and that of the mean: noise of heavy tails
    hides the memory in the one, ranks hide it in the other. Source: Sokal 1997, in Functional Integration (NATO ASI
    B 361), on autocorrelation times and burn-in; the ESS by Vehtari et al. 2021.

    Args:
        draws: The kept draws, [chain, draw].
        mixing: How they mix.
        burn_in: Steps before them.
    """
    ess = mixing.ess
    if mixing.mcse > 0:
        ess = min(ess, float(draws.var(ddof=1)) / mixing.mcse**2)
    steps = burn_in + draws.shape[1]
    return (1 + draws.size / ess) / (2 * steps) * (burn_in / steps) ** (burn_in / draws.shape[1])


def _nested(draws: Draws) -> float:
    """Returns the nested R-hat over groups of neighbouring chains; NaN for fewer than 2 chains in each."""
    per_group = len(draws) // _SUPERCHAINS
    if per_group < 2:
        return math.nan
    some = draws[: per_group * _SUPERCHAINS]
    groups = np.repeat(np.arange(_SUPERCHAINS), per_group)
    return _arviz("rhat_nested_rank", some, superchain_ids=groups)


def _arviz(name: str, draws: Draws, **options: Any) -> float:
    return float(getattr(_statistics(), f"_{name}")(draws, **options))


@functools.cache
def _statistics() -> Any:
    """Returns the statistics of ArviZ for [chain, draw], with its two slow loops done on whole arrays."""
    # ArviZ declares neither its exports nor its types.
    module: Any = importlib.import_module("arviz_stats.base")
    plain: Any = module.array_stats
    own: Any = type("_Statistics", (plain.__class__,), {"_ess": _ess, "_z_scale": _z_scale})()
    seen = np.sin(np.arange(64.0) ** 2).reshape(4, 16)
    pairs = [(own._ess_bulk(seen), plain._ess_bulk(seen)), (own._rhat_rank(seen), plain._rhat_rank(seen))]
    # A version whose own rules are others is followed.
    return own if all(math.isclose(float(a), float(b), rel_tol=1e-9) for a, b in pairs) else plain


def _ess(_: Any, seen: npt.NDArray[Any], relative: bool = False) -> float:
    """Returns the effective sample size as ArviZ does, by Geyer's initial monotone sequence (Geyer 1992, 2011)."""
    draws = np.asarray(seen, dtype=float)
    chains, n = draws.shape
    if np.ptp(draws) < np.finfo(float).resolution:
        return draws.size
    means = draws.mean(1)
    length = 1 << (2 * n - 1).bit_length()
    waves = np.fft.rfft(draws - means[:, None], length)
    covariance = np.fft.irfft((waves.real**2 + waves.imag**2).mean(0), length)[:n] / n
    within = covariance[0] * n / (n - 1)
    variance = covariance[0] + (means.var(ddof=1) if chains > 1 else 0.0)
    rho = 1 - (within - covariance) / variance
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(1)
    most = max(0, (n - 3) // 2)
    positive = pairs[:most] > 0
    kept = most if positive.all() else int(positive.argmin())
    last = rho[2 * kept]
    tau = -1 + 2 * np.minimum.accumulate(pairs[:kept]).sum() + (last if last > 0 or pairs[kept] >= 0 else 0.0)
    size = 1.0 if relative else float(draws.size)
    return math.nan if math.isnan(rho[1]) else size / max(tau, 1 / math.log10(draws.size))


def _z_scale(statistics: Any, draws: Draws) -> Draws:
    """Returns the normal scores of the draws' ranks as ArviZ does."""
    _, where, counts = np.unique(draws, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[where.reshape(draws.shape)]
    special: Any = importlib.import_module("scipy.special")
    return special.ndtri(statistics._backtransform_ranks(ranks))
