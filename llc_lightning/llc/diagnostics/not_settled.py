"""Directions in which the chains have not settled."""

import math

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.llc.estimators import Estimate

UNSETTLED_SHARE = 0.05
OF_THE_ERROR = 0.5


@REASONS.register(
    "not-settled",
    summary=f"slow directions would still add more than {UNSETTLED_SHARE:.0%} of the value and {OF_THE_ERROR} of its "
    "error, as the curvature tells",
    sentence="slow directions that count have not settled, so that the value is too low; raise burn_in and draws, "
    "raise gamma, or use a preconditioner.",
    order=52,
    revision=2,
)
def not_settled(evidence: Evidence) -> bool:
    """Says whether the chains are too short for the slow directions that count."""
    return lacks(evidence.bias.unsettled, evidence.grown)


def lacks(share: float, own: Estimate) -> bool:
    """Says whether a share that is missing from a value is more than 5 % of it and half of its error."""
    missing = share / (1 - share) * abs(own.value) if share < 1 else math.inf
    return share > UNSETTLED_SHARE and not missing <= OF_THE_ERROR * own.stderr
