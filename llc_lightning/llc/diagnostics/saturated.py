"""A value that the number of weights bounds."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

SATURATION = 0.9


@REASONS.register(
    "saturated",
    summary=f"a restricted estimate exceeds {SATURATION} of half the number of moved weights",
    sentence="the value is close to half the number of moved weights, as that of a regular part is, but this "
    "resolution cannot tell; lower n_beta or raise gamma.",
    order=130,
)
def saturated(evidence: Evidence) -> bool:
    """Says whether the value of a part hardly depends on the loss; that of the full model seldom can."""
    return not evidence.whole and evidence.value.value > SATURATION * evidence.geometry.dimension / 2
