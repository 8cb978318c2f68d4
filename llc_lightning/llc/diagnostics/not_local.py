"""Chains that left the neighbourhood of w*."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

LOCAL_DISTANCE = 0.5
LOCAL_EXCESS = 0.1


@REASONS.register(
    "not-local",
    summary=f"the rms distance from w* exceeds {LOCAL_DISTANCE} of the norm of the model's weights, or the full "
    f"model's excess loss {LOCAL_EXCESS} of the trivial predictor's loss",
    sentence="the chains left the neighbourhood of the weights, the value is not about them; raise gamma or lower "
    "n_beta.",
    order=20,
)
def not_local(evidence: Evidence) -> bool:
    """Says whether the chains went too far or too high, where a norm above 0 or the trivial loss is there to compare.

    The norm is the whole model's also for a restricted estimate: a neuron's weights, drawn anew at a weak localisation,
    lie farther apart than their norm while the network stays where it is.
    """
    norm, trivial = evidence.geometry.model_norm, evidence.trivial_loss
    far = norm > 0 and evidence.motion.distance > LOCAL_DISTANCE * norm
    costly = evidence.whole and trivial is not None and evidence.excess_loss > LOCAL_EXCESS * trivial
    return far or costly
