"""A loss that is not finite at w*."""

import math

from llc_lightning.llc.diagnostics.base import REASONS, Evidence


@REASONS.register(
    "nan-loss",
    summary="the loss of an example at w* is not finite; no chain is run",
    sentence="the loss at the measured weights is not finite; look at the training run and the data.",
    order=10,
    failed=True,
)
def nan_loss(evidence: Evidence) -> bool:
    """Says whether no chain can start."""
    return not math.isfinite(evidence.losses.abs().amax())  # which is NaN where one is
