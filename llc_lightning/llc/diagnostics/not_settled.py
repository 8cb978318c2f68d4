"""Directions in which the chains have not settled."""

from llc_lightning.llc.diagnostics.base import DIAGNOSTICS, Evidence

UNSETTLED_SHARE = 0.05


@DIAGNOSTICS.register(
    "not-settled",
    summary=f"slow directions would still add more than {UNSETTLED_SHARE:.0%} of the value, as the curvature tells",
)
def not_settled(evidence: Evidence) -> bool:
    """Says whether the chains are too short for the slow directions that count."""
    return evidence.bias.unsettled > UNSETTLED_SHARE
