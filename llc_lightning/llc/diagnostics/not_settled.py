"""Directions in which the chains have not settled."""

import math

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.llc.estimators import Estimate, plain_gap

UNSETTLED_SHARE = 0.05
OF_THE_ERROR = 0.5
_ERRORS, _FELT_ERRORS, _FELT = 3.0, 2.0, 1e-3


@REASONS.register(
    "not-settled",
    summary=f"slow directions would still add more than {UNSETTLED_SHARE:.0%} of the value and {OF_THE_ERROR} of its "
    "error, as the curvature tells; or there is none, and the chains are on their way",
    sentence="slow directions that count have not settled, so that the value is too low; raise burn_in and draws, "
    "raise gamma, or use a preconditioner.",
    order=52,
    revision=3,
)
def not_settled(evidence: Evidence) -> bool:
    """Says whether the chains are too short for the slow directions that count."""
    return lacks(evidence.bias.unsettled, evidence.grown) or _felt_without_curvature(evidence)


def _felt_without_curvature(evidence: Evidence) -> bool:
    """Says whether the loss is felt though it curves nowhere, by chains that the virial with M = 1 finds too cold.

    Of a loss of kinks nothing but the virial tells whether chains have settled: along ``|w|`` they have soon, from the
    kink of ``relu(w)`` they find into what is flat, the value falling, until the localisation stops them. Along
    directions that are flat altogether chains are as cold, and the value is 0.
    """
    kept, own, gap = evidence.kept, evidence.value, plain_gap(evidence.kept)
    if not kept.blind or kept.before is None or gap is None:
        return False
    cold = gap.value > _ERRORS * gap.stderr and gap.value > UNSETTLED_SHARE * kept.dimension / 2
    return cold and own.value > max(_FELT_ERRORS * own.stderr, _FELT)


def lacks(share: float, own: Estimate) -> bool:
    """Says whether a share that is missing from a value is more than 5 % of it and half of its error."""
    missing = share / (1 - share) * abs(own.value) if share < 1 else math.inf
    return share > UNSETTLED_SHARE and not missing <= OF_THE_ERROR * own.stderr
