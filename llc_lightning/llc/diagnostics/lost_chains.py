"""Chains that never moved, died or exploded."""

from llc_lightning.llc.diagnostics.base import DIAGNOSTICS, Evidence


@DIAGNOSTICS.register("frozen", summary="no chain ever left w*")
def frozen(evidence: Evidence) -> bool:
    """Says whether no chain ever left w*; ArviZ would call such chains perfect."""
    return not evidence.moved


@DIAGNOSTICS.register("all-diverged", summary="every chain died or exploded")
def all_diverged(evidence: Evidence) -> bool:
    """Says whether chains were run and none is left."""
    motion = evidence.motion
    return evidence.moved and bool(motion.per_chain) and motion.healthy_chains == 0


@DIAGNOSTICS.register("diverged", summary="some chains died or exploded, and the others give the value")
def diverged(evidence: Evidence) -> bool:
    """Says whether some chains are lost."""
    return evidence.motion.healthy_chains < len(evidence.motion.per_chain)


@DIAGNOSTICS.register("single-chain", summary="one healthy chain, of which no error can be told")
def single_chain(evidence: Evidence) -> bool:
    """Says whether one chain gives the value."""
    return evidence.motion.healthy_chains == 1
