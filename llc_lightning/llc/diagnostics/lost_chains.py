"""Chains that never moved, died or exploded."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence


@REASONS.register(
    "frozen",
    summary="no chain ever left w*",
    sentence="a chain never moved; raise the step size (with mala, lower it), use float64, or move parameters that "
    "the loss depends on.",
    order=30,
    failed=True,
)
def frozen(evidence: Evidence) -> bool:
    """Says whether no chain ever left w*; ArviZ would call such chains perfect."""
    return not evidence.moved


@REASONS.register(
    "all-diverged",
    summary="every chain died or exploded",
    sentence="every chain diverged; lower the step size or raise gamma.",
    order=40,
    failed=True,
)
def all_diverged(evidence: Evidence) -> bool:
    """Says whether chains were run and none is left."""
    motion = evidence.motion
    return evidence.moved and bool(motion.per_chain) and motion.healthy_chains == 0


@REASONS.register(
    "diverged",
    summary="some chains died or exploded, and the others give the value",
    sentence="some chains diverged and the value is the mean of the others; lower the step size or raise gamma.",
    order=10,
)
def diverged(evidence: Evidence) -> bool:
    """Says whether some chains are lost."""
    return evidence.motion.healthy_chains < len(evidence.motion.per_chain)


@REASONS.register(
    "single-chain",
    summary="one healthy chain, of which no error can be told",
    sentence="one chain gives no standard error and no R-hat; use at least 2 chains.",
    order=160,
)
def single_chain(evidence: Evidence) -> bool:
    """Says whether one chain gives the value."""
    return evidence.motion.healthy_chains == 1
