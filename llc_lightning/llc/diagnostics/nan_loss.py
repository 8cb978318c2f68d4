"""A loss that is not finite at w*."""

from llc_lightning.llc.diagnostics.base import DIAGNOSTICS, Evidence


@DIAGNOSTICS.register("nan-loss", summary="the loss of an example at w* is not finite; no chain is run")
def nan_loss(evidence: Evidence) -> bool:
    """Says whether no chain can start."""
    return not bool(evidence.losses.isfinite().all())
