"""A value that the number of weights bounds."""

from llc_lightning.llc.diagnostics.base import DIAGNOSTICS, Evidence

SATURATION = 0.9


@DIAGNOSTICS.register(
    "saturated", summary=f"a restricted estimate exceeds {SATURATION} of half the number of moved weights"
)
def saturated(evidence: Evidence) -> bool:
    """Says whether the value of a part hardly depends on the loss; that of the full model seldom can."""
    return not evidence.whole and evidence.value.value > SATURATION * evidence.geometry.dimension / 2
