"""A loss too large for its changes to be seen."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

ROUNDED_SHARE = 0.25


@REASONS.register(
    "rounding",
    summary=f"numbers of the size of the losses at w* are farther apart than {ROUNDED_SHARE} of the excess loss",
    sentence="the loss at w* is so large that rounding hides how it changes; use float64, subtract a constant from "
    "the loss, or lower n_beta.",
    order=100,
)
def rounding(evidence: Evidence) -> bool:
    """Says whether rounding hides how the loss changes, where it changes at all: its curvature is above 0."""
    import torch

    losses = evidence.losses
    ulp = torch.finfo(losses.dtype).eps * losses.double().abs().mean().item()
    return evidence.geometry.curvature > 0 and ulp > ROUNDED_SHARE * abs(evidence.excess_loss)
