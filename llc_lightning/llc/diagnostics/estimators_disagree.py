"""Independent estimators that contradict each other."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.llc.estimators import unexplained

DISAGREEMENT_ERRORS = 3.0
DISAGREEMENT_SHARE = 0.05
HEAVY_TAILS = 3.0


@REASONS.register(
    "estimators-disagree",
    summary=f"the virial is below its prediction by more than {DISAGREEMENT_ERRORS:.0f} errors and "
    f"{DISAGREEMENT_SHARE:.0%} of the value, or the variance exceeds {HEAVY_TAILS:.0f} times the mean",
    sentence="two estimators that agree in equilibrium contradict each other; raise burn_in and draws, or use another "
    "sampler (lm, mala).",
    order=60,
)
def estimators_disagree(evidence: Evidence) -> bool:
    """Says whether estimators that agree in equilibrium do not, by more than 3 of their errors, for no known cause.

    Chains colder than their curvature tells are those of a loss that is steeper farther out. Where the variance is so
    large, near the limit of stability, the tails of the chains are too heavy.
    """
    value, rest, variance = evidence.value.value, unexplained(evidence.kept), evidence.estimates.get("variance")
    cold = (
        rest is not None
        and rest.value > DISAGREEMENT_ERRORS * rest.stderr
        and rest.value > DISAGREEMENT_SHARE * abs(value)
    )
    heavy = variance is not None and variance.value - DISAGREEMENT_ERRORS * variance.stderr > HEAVY_TAILS * abs(value)
    return cold or heavy
