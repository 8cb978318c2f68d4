"""A box that held the chains back."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

BOX_SHARE = 0.001


@REASONS.register(
    "box-hits",
    summary=f"the box held back more than {BOX_SHARE:.1%} of all moves of weights",
    sentence="the box held the chains back, the value is about the box; widen it or raise gamma.",
    order=110,
)
def box_hits(evidence: Evidence) -> bool:
    """Says whether the value is about the box."""
    return evidence.motion.box_hits > BOX_SHARE
