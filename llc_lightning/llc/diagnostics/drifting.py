"""Chains whose loss has not settled."""

import math

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.llc.draws import mcse_of

DRIFT_ERRORS = 4.0
DRIFT_SHARE = 0.05
_FEWEST = 4


@REASONS.register(
    "drifting",
    summary=f"the first and the last half of the draws differ by more than {DRIFT_ERRORS:.0f} of their errors and "
    f"{DRIFT_SHARE:.0%} of the value",
    sentence="the loss along the chains has not settled; raise burn_in, or use a preconditioner.",
    order=40,
)
def drifting(evidence: Evidence) -> bool:
    """Says whether the two halves of the draws differ.

    The error is, as for the estimate, the larger of the Monte Carlo error and the spread of the chains' own changes.
    """
    draws = evidence.kept.scaled
    half = draws.shape[1] // 2
    if half < _FEWEST:
        return False
    first, last = draws[:, :half], draws[:, -half:]
    error = math.hypot(mcse_of(first), mcse_of(last))
    changes = last.mean(1) - first.mean(1)
    if len(changes) > 1:
        error = max(error, float(changes.std(ddof=1)) / math.sqrt(len(changes)))
    change = abs(float(changes.mean()))
    return change > DRIFT_ERRORS * error and change > DRIFT_SHARE * abs(float(draws.mean()))
