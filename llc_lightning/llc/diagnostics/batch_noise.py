"""Minibatches whose noise heats the chains."""

from llc_lightning.llc.diagnostics.base import REASONS, Evidence

NOISE_SHARE = 0.05
NOISE_ERRORS = 3.0


@REASONS.register(
    "batch-noise",
    summary=f"minibatches raise the value by more than {NOISE_SHARE:.0%} and by more than its error",
    sentence="the noise of minibatches heats the chains and raises the value by more than 5 %; raise batch_size, or "
    "lower the step size.",
    order=70,
)
def batch_noise(evidence: Evidence) -> bool:
    """Says whether minibatches raise the value too much, where what they add is known to a third."""
    added, own = evidence.bias.noise_bias, evidence.value
    sure = added > NOISE_ERRORS * evidence.bias.noise_bias_stderr
    return sure and added > max(NOISE_SHARE * abs(own.value - added), own.stderr)
