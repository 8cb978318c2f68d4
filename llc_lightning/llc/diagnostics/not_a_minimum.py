"""Weights that are not near a minimum."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

CORRECTION_SHARE = 0.2
BELOW_ERRORS = 3.0
ROUNDED = 1e-6
"""What is nearer to 0 is none of a direction: where nothing depends on the weights, chains see rounding alone."""


@REASONS.register(
    "not-a-minimum",
    summary=f"Delta exceeds {CORRECTION_SHARE} of the estimate, the curvature is indefinite, or the estimate is more "
    f"than {BELOW_ERRORS:.0f} standard errors and {ROUNDED:g} below 0",
    sentence="the weights are not near a minimum of the loss at this resolution; read the value with its "
    "llc_correction, train longer, lower n_beta, or raise gamma.",
    order=30,
    revision=2,
)
def not_a_minimum(evidence: Evidence) -> bool:
    """Says whether the loss falls away from w*.

    Delta is NaN where the curvature is indefinite. Where the estimate is below 0 the chains found a lower loss than
    that of w*, as from a saddle, where the gradient is 0 and with it Delta.
    """
    own = evidence.value
    falls = own.value < -max(BELOW_ERRORS * own.stderr, ROUNDED)
    return falls or not evidence.bias.correction <= max(CORRECTION_SHARE * abs(own.value), ROUNDED)
