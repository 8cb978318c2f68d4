"""Independent estimators that contradict each other."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.llc.estimators import stein_gap

DISAGREEMENT_ERRORS = 3.0
DISAGREEMENT_SHARE = 0.05
HEAVY_TAILS = 3.0


@REASONS.register(
    "estimators-disagree",
    summary=f"mean and Stein estimate differ by more than {DISAGREEMENT_ERRORS:.0f} errors of their difference and "
    f"{DISAGREEMENT_SHARE:.0%} of the smaller, or the variance exceeds {HEAVY_TAILS:.0f} times the mean",
    sentence="two estimators that agree in equilibrium contradict each other; lower the step size, raise burn_in or "
    "batch_size, or use another sampler (lm, mala).",
    order=60,
)
def estimators_disagree(evidence: Evidence) -> bool:
    """Says whether estimators that agree in equilibrium do not, by more than 3 of their errors.

    Where the Stein estimate is another, the step size, the noise of minibatches or directions that have not settled
    make the value wrong. Where the variance is so large, near the limit of stability, the tails of the chains are too
    heavy.
    """
    value, gap, variance = evidence.value.value, stein_gap(evidence.kept), evidence.estimates.get("variance")
    apart = (
        gap is not None
        and abs(gap.value) > DISAGREEMENT_ERRORS * gap.stderr
        and abs(gap.value) > DISAGREEMENT_SHARE * min(abs(value), abs(value + gap.value))
    )
    heavy = variance is not None and variance.value - DISAGREEMENT_ERRORS * variance.stderr > HEAVY_TAILS * abs(value)
    return apart or heavy
