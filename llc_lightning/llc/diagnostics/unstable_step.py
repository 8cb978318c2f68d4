"""A step size beyond the limit of stability."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

STABILITY_LIMIT = 4.0


@REASONS.register(
    "unstable-step",
    summary=f"the step size times the largest curvature where the chains end exceeds {STABILITY_LIMIT:.0f}",
    sentence="where the chains are, the step size is beyond the limit of stability; lower it, or let it be auto.",
    order=80,
)
def unstable_step(evidence: Evidence) -> bool:
    """Says whether the step is unstable where the chains are.

    There the tails of the chains are heavy, and a mean that is far too high can look as if it had settled.
    """
    return evidence.step_times_curvature > STABILITY_LIMIT
