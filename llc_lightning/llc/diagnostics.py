"""From chains to a value with its error, and the reasons against it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.llc.draws import Draws, Mixing, error_of, mcse_of, mixing_of
from llc_lightning.llc.estimators import Estimate

RHAT_LIMIT = 1.05
ESS_LIMIT = 100.0
MANY_CHAINS = 32
LOCAL_DISTANCE = 0.5
LOCAL_EXCESS = 0.1
CORRECTION_SHARE = 0.2
BELOW_ERRORS = 3.0
SATURATION = 0.9
DRIFT_ERRORS = 4.0
DRIFT_SHARE = 0.05
DISAGREEMENT_ERRORS = 3.0
DISAGREEMENT_SHARE = 0.05
NOISE_SHARE = 0.05
NOISE_ERRORS = 3.0
HEAVY_TAILS = 3.0
BOX_SHARE = 0.001
STABLE = 4.0
WRONG_SHARE = 0.25
WRONG_ERRORS = 4.0
ROUNDED_SHARE = 0.25


@dataclass(frozen=True)
class ChainStatistics:
    """The statistics of the healthy chains of one lane."""

    mean: float
    stderr: float
    healthy: int
    per_chain: tuple[float, ...]
    mixing: Mixing
    reasons: tuple[str, ...]


def chain_statistics(
    scaled: Float[Tensor, "chain draw"], failed: Bool[Tensor, "chain"], *, moved: bool
) -> ChainStatistics:
    """Returns the mean of the scaled excess loss over healthy chains, with its error and the reasons against it.

    What judges the mixing is the rank-normalised split R-hat and the bulk effective sample size, both from ArviZ; the
    nested R-hat in place of the former for 32 chains or more.

    Args:
        scaled: ``n_beta (L - L(w*))`` of every kept draw.
        failed: Which chains died or exploded.
        moved: Whether the weights moved at all.
    """
    means = scaled.double().mean(1).where(~failed, math.nan)
    per_chain = tuple(float(mean) for mean in means)
    draws = scaled[~failed].double().cpu().numpy()
    healthy = len(draws)
    nan = math.nan
    unknown = Mixing(nan, nan, nan, nan, nan)
    if not moved:
        return ChainStatistics(nan, nan, healthy, per_chain, unknown, ("frozen",))
    if healthy == 0:
        return ChainStatistics(nan, nan, 0, per_chain, unknown, ("all-diverged",))
    reasons = ["diverged"] if healthy < len(scaled) else []
    mixing = mixing_of(draws)
    # Of many short chains, each too short for a variance of its own, the groups are what can be compared.
    rhat = mixing.rhat_nested if healthy >= MANY_CHAINS else mixing.rhat
    if draws.size < ESS_LIMIT or draws.shape[1] < 4:
        reasons.append("too-few-draws")
    elif mixing.ess < ESS_LIMIT or rhat >= RHAT_LIMIT or math.isnan(mixing.ess):
        reasons.append("not-mixed")
    if _drifts(draws):
        reasons.append("drifting")
    if healthy == 1:
        reasons.append("single-chain")
    return ChainStatistics(float(draws.mean()), error_of(draws), healthy, per_chain, mixing, tuple(reasons))


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


def agreement_reasons(*, value: float, gap: Estimate | None, variance: Estimate | None) -> list[str]:
    """Returns ``estimators-disagree`` where independent estimators contradict each other.

    That is where the mean and the Stein estimate differ by more than 3 of the errors of their difference and 5 % of the
    smaller of the two: the step size, the noise of minibatches or directions that have not settled make the value
    wrong. Or where the variance exceeds three times the mean by more than 3 of its errors: near the limit of stability
    the tails of the chains are too heavy.
    """
    apart = (
        gap is not None
        and abs(gap.value) > DISAGREEMENT_ERRORS * gap.stderr
        and abs(gap.value) > DISAGREEMENT_SHARE * min(abs(value), abs(value + gap.value))
    )
    heavy = variance is not None and variance.value - DISAGREEMENT_ERRORS * variance.stderr > HEAVY_TAILS * abs(value)
    return ["estimators-disagree"] if apart or heavy else []


def noise_reasons(*, value: float, noise_bias: Estimate, stderr: float) -> list[str]:
    """Returns ``batch-noise`` where minibatches raise the value by more than 5 %.

    Also by more than its error, and only where what they add is known to a third.
    """
    added = noise_bias.value
    sure = added > NOISE_ERRORS * noise_bias.stderr
    return ["batch-noise"] if sure and added > max(NOISE_SHARE * abs(value - added), stderr) else []


def stability_reasons(step_times_curvature: float) -> list[str]:
    """Returns ``unstable-step`` where the step times the largest curvature where chains end exceeds 4: it is unstable.

    There the tails of the chains are heavy, and a mean that is far too high can look as if it had settled.
    """
    return ["unstable-step"] if step_times_curvature > STABLE else []


def gradient_reasons(risen: Float[Tensor, "chain look"], sloped: Float[Tensor, "chain look"]) -> list[str]:
    """Returns ``wrong-gradient`` where the loss rises otherwise than its gradient says.

    That is by a quarter of both and by 4 standard errors of the difference, since kinks make some.

    Args:
        risen: By how much the loss rises around each chain, away from w*.
        sloped: The integral of the gradient over there, on the same examples.
    """
    gap = (risen - sloped).double()
    size = (risen.double().abs() + sloped.double().abs()).mean().item() / 2
    error = gap.std().item() / math.sqrt(gap.numel()) if gap.numel() > 1 else math.inf
    return ["wrong-gradient"] if gap.mean().abs().item() > max(WRONG_SHARE * size, WRONG_ERRORS * error) else []


def rounding_reasons(*, excess_loss: float, losses: Float[Tensor, "example"]) -> list[str]:
    """Returns ``rounding`` where numbers of the size of the losses at w* are about as far apart as the excess loss."""
    ulp = torch.finfo(losses.dtype).eps * losses.double().abs().mean().item()
    return ["rounding"] if ulp > ROUNDED_SHARE * abs(excess_loss) else []


def box_reasons(hits: float) -> list[str]:
    """Returns ``box-hits`` where the box held back more than a thousandth of all moves."""
    return ["box-hits"] if hits > BOX_SHARE else []


def _drifts(draws: Draws) -> bool:
    """Says whether the first and the last half of the draws differ by more than 4 of their errors and 5 % of the value.

    The error is, as for the estimate, the larger of the Monte Carlo error and the spread of the chains' own changes.
    """
    half = draws.shape[1] // 2
    if half < 4:
        return False
    first, last = draws[:, :half], draws[:, -half:]
    error = math.hypot(mcse_of(first), mcse_of(last))
    changes = last.mean(1) - first.mean(1)
    if len(changes) > 1:
        error = max(error, float(changes.std(ddof=1)) / math.sqrt(len(changes)))
    change = abs(float(changes.mean()))
    return change > DRIFT_ERRORS * error and change > DRIFT_SHARE * abs(float(draws.mean()))
