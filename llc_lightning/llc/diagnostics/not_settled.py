"""Directions in which the chains have not settled."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

UNSETTLED_SHARE = 0.05


@REASONS.register(
    "not-settled",
    summary=f"slow directions would still add more than {UNSETTLED_SHARE:.0%} of the value, as the curvature tells",
    sentence="slow directions that count have not settled, so that the value is too low; raise burn_in and draws, "
    "raise gamma, or use a preconditioner.",
    order=52,
)
def not_settled(evidence: Evidence) -> bool:
    """Says whether the chains are too short for the slow directions that count."""
    return evidence.bias.unsettled > UNSETTLED_SHARE
