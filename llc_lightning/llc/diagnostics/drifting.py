"""Chains whose loss has not settled."""

import math

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.llc.draws import Draws, mcse_of
from llc_lightning.llc.estimators import KeptDraws, plain_gap

DRIFT_ERRORS = 4.0
FALL_ERRORS, FALL_ERRORS_UNSEEN = 2.5, 1.0
DRIFT_SHARE = 0.05
_FEWEST = 4


@REASONS.register(
    "drifting",
    summary=f"the first and the last half of the draws differ by more than {DRIFT_ERRORS:.0f} of their errors and "
    f"{DRIFT_SHARE:.0%} of the value, or the draws lie as much below burn-in by more than {FALL_ERRORS}",
    sentence="the loss along the chains has not settled; raise burn_in, or use a preconditioner.",
    order=40,
    revision=2,
)
def drifting(evidence: Evidence) -> bool:
    """Says whether the two halves of the draws differ, or the draws lie below the last three quarters of burn-in.

    Chains that begin at a minimum rise to where they stay. They fall where they find their way out of what is steep
    into what is flat, as from the kink of a unit that fires to one side: the longer they are, the lower. Where the loss
    curves nowhere nothing else tells of that, and a smaller fall does where the virial says that they are on their way.
    """
    draws, before = evidence.kept.scaled, evidence.kept.before
    half, little = draws.shape[1] // 2, DRIFT_SHARE * abs(float(draws.mean())) if draws.size else 0.0
    if half < _FEWEST:
        return False
    limit = FALL_ERRORS_UNSEEN if _unseen(evidence.kept) else FALL_ERRORS
    fallen = before is not None and before.shape[1] >= _FEWEST and _change(draws, before, little) > limit
    return fallen or abs(_change(draws[:, :half], draws[:, -half:], little)) > DRIFT_ERRORS


def _unseen(kept: KeptDraws) -> bool:
    """Says whether nothing is known of curvature, and the virial with M = 1 finds the chains too cold by 3 errors."""
    gap = plain_gap(kept)
    return kept.blind and gap is not None and gap.value > max(3 * gap.stderr, DRIFT_SHARE * kept.dimension / 2)


def _change(first: Draws, last: Draws, little: float) -> float:
    """Returns by how many of its errors the mean of the second lies above that of the first; 0 for little.

    The error is, as for the estimate, the larger of the Monte Carlo error and the spread of the chains' own changes.
    """
    changes = last.mean(1) - first.mean(1)
    change = float(changes.mean())
    if not abs(change) > little:
        return 0.0
    error = math.hypot(mcse_of(first), mcse_of(last))
    if len(changes) > 1:
        error = max(error, float(changes.std(ddof=1)) / math.sqrt(len(changes)))
    return change / error if error > 0 else math.copysign(math.inf, change)
