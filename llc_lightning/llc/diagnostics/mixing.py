"""Chains that disagree, or whose draws are too few or too correlated."""

import math

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

RHAT_LIMIT = 1.05
ESS_LIMIT = 100.0
MANY_CHAINS = 32
_FEWEST = 4


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
    summary=f"a rank-normalised split R-hat of {RHAT_LIMIT} or more, or a bulk effective sample size below "
    f"{ESS_LIMIT:.0f}; the nested R-hat for {MANY_CHAINS} chains or more",
    source="Vehtari et al. 2021, arXiv:1903.08008; Margossian et al. 2022, arXiv:2110.13017",
    sentence="the chains disagree or their draws are too correlated (R-hat or ESS); raise draws, chains or the step "
    "size, or use a preconditioner.",
    order=50,
)
def not_mixed(evidence: Evidence) -> bool:
    """Says whether there are draws enough to see that the chains have not mixed."""
    mixing = evidence.mixing
    # Of many short chains, each too short for a variance of its own, the groups are what can be compared.
    rhat = mixing.rhat_nested if evidence.motion.healthy_chains >= MANY_CHAINS else mixing.rhat
    unmixed = mixing.ess < ESS_LIMIT or rhat >= RHAT_LIMIT or math.isnan(mixing.ess)
    return unmixed and not too_few_draws(evidence)
