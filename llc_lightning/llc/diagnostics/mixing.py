"""Chains that disagree, whose draws are too few, or that may remember where they began."""

import math

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.llc.diagnostics.not_settled import OF_THE_ERROR, UNSETTLED_SHARE, lacks
from llc_lightning.llc.draws import memory_of

RHAT_LIMIT = 1.2
NESTED_LIMIT = 1.05
ESS_LIMIT = 100.0
MANY_CHAINS = 32
_FEWEST = 4
FEWEST_MOVES = 10


@REASONS.register(
    "too-few-draws",
    summary=f"fewer than {ESS_LIMIT:.0f} draws in all, or {_FEWEST} of a chain",
    sentence="there are too few draws to judge the chains; raise draws.",
    order=120,
)
def too_few_draws(evidence: Evidence) -> bool:
    """Says whether there are too few draws to judge how the chains mix."""
    draws = evidence.kept.scaled
    return draws.size < ESS_LIMIT or draws.shape[1] < _FEWEST


@REASONS.register(
    "not-mixed",
    summary=f"what chains may remember of their start and what is unsettled exceed together {UNSETTLED_SHARE:.0%} of "
    f"the value and {OF_THE_ERROR} of its error, or a rank-normalised split R-hat of {RHAT_LIMIT} or more; for "
    f"{MANY_CHAINS} chains or more a nested R-hat of {NESTED_LIMIT}, or a bulk effective sample size below "
    f"{ESS_LIMIT:.0f}; or fewer than {FEWEST_MOVES} accepted proposals a chain",
    source="Vehtari et al. 2021, arXiv:1903.08008; Margossian et al. 2022, arXiv:2110.13017; Gelman and Rubin 1992, "
    "Statistical Science 7(4)",
    sentence="the draws are so correlated that the chains may not have forgotten their start (R-hat or ESS); raise "
    "draws, chains or the step size, or use a preconditioner.",
    order=50,
    revision=2,
)
def not_mixed(evidence: Evidence) -> bool:
    """Says whether there are draws enough to see that the chains have not mixed.

    Chains that mix slowly spread, which the standard error counts. What it cannot count is their common start. Beyond
    an R-hat of 1.2 a chain is shorter than 5 of its autocorrelation times, which cannot be known then.
    """
    return not too_few_draws(evidence) and (_stand(evidence) or _disagree(evidence) or _remember(evidence))


def _stand(evidence: Evidence) -> bool:
    """Says whether chains reject nearly all: near their common start they agree, and seem to have forgotten it."""
    return evidence.motion.acceptance * evidence.run.settings.steps < FEWEST_MOVES


def _disagree(evidence: Evidence) -> bool:
    mixing = evidence.mixing
    # Of many short chains, each too short for a variance of its own, the groups are what can be compared.
    if evidence.motion.healthy_chains >= MANY_CHAINS:
        return mixing.rhat_nested >= NESTED_LIMIT or not mixing.ess >= ESS_LIMIT
    return mixing.rhat >= RHAT_LIMIT or math.isnan(mixing.ess)


def _remember(evidence: Evidence) -> bool:
    """Says whether chains may lack too much, beside what the curvature tells where that alone is no reason."""
    own, unsettled = evidence.grown, evidence.bias.unsettled
    remembered = memory_of(evidence.kept.scaled, evidence.mixing, evidence.run.settings.burn_in)
    return lacks(remembered if lacks(unsettled, own) or math.isnan(unsettled) else remembered + unsettled, own)
