"""A box that held the chains back."""

from llc_lightning.llc.diagnostics.base import DIAGNOSTICS, Evidence

BOX_SHARE = 0.001


@DIAGNOSTICS.register("box-hits", summary=f"the box held back more than {BOX_SHARE:.1%} of all moves of weights")
def box_hits(evidence: Evidence) -> bool:
    """Says whether the value is about the box."""
    return evidence.motion.box_hits > BOX_SHARE
