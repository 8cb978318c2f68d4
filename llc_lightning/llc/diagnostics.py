"""From chains to a value with its error, and the reasons against it."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

Draws: TypeAlias = npt.NDArray[np.float64]

RHAT_LIMIT = 1.05
ESS_LIMIT = 100.0
TAIL = (0.05, 0.95)
LOCAL_DISTANCE = 0.5
LOCAL_EXCESS = 0.1
CORRECTION_SHARE = 0.2
BELOW_ERRORS = 3.0
SATURATION = 0.9
DRIFT_ERRORS = 4.0
DRIFT_SHARE = 0.05


@dataclass(frozen=True)
class ChainStatistics:
    """The statistics of the healthy chains of one lane."""

    mean: float
    stderr: float
    healthy: int
    per_chain: tuple[float, ...]
    rhat: float
    ess: float
    ess_tail: float
    mcse: float
    reasons: tuple[str, ...]


def chain_statistics(
    scaled: Float[Tensor, "chain draw"], failed: Bool[Tensor, "chain"], *, moved: bool
) -> ChainStatistics:
    """Returns the mean of the scaled excess loss over healthy chains, with its error and the reasons against it.

    The standard error is the larger of the Monte Carlo error of all draws and the spread of the chain means over
    sqrt(chains): the first alone covers too little at small batches. R-hat is the rank-normalised split R-hat, ESS the
    bulk effective sample size (Vehtari et al. 2021, arXiv:1903.08008), both from ArviZ.

    Args:
        scaled: ``n_beta (L - L(w*))`` of every kept draw.
        failed: Which chains died or exploded.
        moved: Whether the weights moved at all.
    """
    means = scaled.double().mean(1).where(~failed, torch.nan)
    per_chain = tuple(float(mean) for mean in means)
    draws = scaled[~failed].double().cpu().numpy()
    healthy = len(draws)
    nan = math.nan
    if not moved:
        return ChainStatistics(nan, nan, healthy, per_chain, nan, nan, nan, nan, ("frozen",))
    if healthy == 0:
        return ChainStatistics(nan, nan, 0, per_chain, nan, nan, nan, nan, ("all-diverged",))
    reasons = ["diverged"] if healthy < len(scaled) else []
    rhat, ess, ess_tail, mcse = _mixing(draws)
    if draws.size < ESS_LIMIT or draws.shape[1] < 4:
        reasons.append("too-few-draws")
    elif ess < ESS_LIMIT or rhat >= RHAT_LIMIT or math.isnan(ess):
        reasons.append("not-mixed")
    if _drifts(draws):
        reasons.append("drifting")
    stderr = nan
    if healthy == 1:
        reasons.append("single-chain")
    else:
        stderr = max(0.0 if math.isnan(mcse) else mcse, float(draws.mean(1).std(ddof=1)) / math.sqrt(healthy))
    return ChainStatistics(float(draws.mean()), stderr, healthy, per_chain, rhat, ess, ess_tail, mcse, tuple(reasons))


def locality_reasons(*, distance: float, norm: float, excess_loss: float, trivial_loss: float | None) -> list[str]:
    """Returns ``not-local`` where the chains left the neighbourhood of w*.

    That is when the rms distance of the moved weights exceeds half the norm of the model's weights at w* (where that is
    not zero), or the excess loss exceeds a tenth of the trivial predictor's loss (where that is given: for the full
    model). The norm is the whole model's also for a restricted estimate: a neuron's weights, drawn anew at a weak
    localisation, lie farther apart than their norm while the network stays where it is.
    """
    far = norm > 0 and distance > LOCAL_DISTANCE * norm
    costly = trivial_loss is not None and excess_loss > LOCAL_EXCESS * trivial_loss
    return ["not-local"] if far or costly else []


def minimum_reasons(*, value: float, correction: float, stderr: float = math.nan) -> list[str]:
    """Returns ``not-a-minimum`` where Delta exceeds a fifth of the estimate or is NaN: the curvature is indefinite.

    Also where the estimate lies more than 3 standard errors below 0: the chains found a lower loss than that of w*, as
    from a saddle, where the gradient is 0 and with it Delta.
    """
    falls = value < -BELOW_ERRORS * stderr
    return ["not-a-minimum"] if falls or not correction <= CORRECTION_SHARE * abs(value) else []


def saturation_reasons(*, value: float, dimension: int) -> list[str]:
    """Returns ``saturated`` where the estimate exceeds 0.9 of half the number of moved weights."""
    return ["saturated"] if value > SATURATION * dimension / 2 else []


def _mixing(draws: Draws) -> tuple[float, float, float, float]:
    """Returns R-hat, bulk ESS, tail ESS and MCSE; ArviZ calls constant chains perfect in ESS and undefined in R-hat."""
    if draws.shape[1] < 4:
        return math.nan, math.nan, math.nan, math.nan
    if np.ptp(draws) == 0:
        return 1.0, float(draws.size), float(draws.size), 0.0
    return (
        _arviz("rhat", draws) if len(draws) > 1 else math.nan,
        _arviz("ess", draws, method="bulk"),
        _arviz("ess", draws, method="tail", prob=TAIL),
        _arviz("mcse", draws, method="mean"),
    )


def _arviz(name: str, draws: Draws, **options: Any) -> float:
    # ArviZ declares neither its exports nor its types.
    module: Any = importlib.import_module("arviz_stats.base")
    return float(getattr(module.array_stats, name)(draws, chain_axis=0, draw_axis=1, **options))


def _drifts(draws: Draws) -> bool:
    """Says whether the first and the last half of the draws differ by more than 4 of their errors and 5 % of the value.

    The error is, as for the estimate, the larger of the Monte Carlo error and the spread of the chains' own changes.
    """
    half = draws.shape[1] // 2
    if half < 4:
        return False
    first, last = draws[:, :half], draws[:, -half:]
    error = math.hypot(_arviz("mcse", first, method="mean"), _arviz("mcse", last, method="mean"))
    changes = last.mean(1) - first.mean(1)
    if len(changes) > 1:
        error = max(error, float(changes.std(ddof=1)) / math.sqrt(len(changes)))
    change = abs(float(changes.mean()))
    return change > DRIFT_ERRORS * error and change > DRIFT_SHARE * abs(float(draws.mean()))
