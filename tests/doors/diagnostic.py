"""A diagnostic with a reason of its own, as a contributor would write it: an estimate close to zero, near w*."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence


@REASONS.register(
    "tiny",
    summary="the value is below a thousandth, and no weight moved by more than 1000",
    sentence="the value is below a thousandth; raise n_beta.",
    order=115,
    observes=("reach",),
)
def tiny(evidence: Evidence) -> bool:
    return abs(evidence.value.value) < 1e-3 and evidence.observed["reach"].max().item() < 1e3
