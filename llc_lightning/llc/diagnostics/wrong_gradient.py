"""A loss that does not follow its gradient."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

WRONG_SHARE = 0.25
WRONG_ERRORS = 4.0


@REASONS.register(
    "wrong-gradient",
    summary=f"away from w* the loss rises otherwise than its gradient says, by {WRONG_SHARE} of both and by "
    f"{WRONG_ERRORS:.0f} errors of the difference",
    sentence="along the chains the loss changes otherwise than its gradient says; compute it with differentiable "
    "operations of all moved weights, without detach(), round() or argmax().",
    order=90,
    observes=("gradient_check",),
)
def wrong_gradient(evidence: Evidence) -> bool:
    """Says whether the gradient is that of another function."""
    from llc_lightning.sampling.observables.base import apart
    from llc_lightning.sampling.observables.gradient_check import differ

    seen = evidence.observed.get("gradient_check")
    return seen is not None and differ(*apart(seen), share=WRONG_SHARE, errors=WRONG_ERRORS)
