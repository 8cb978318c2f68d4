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
    revision=3,
)
def batch_noise(evidence: Evidence) -> bool:
    """Says whether minibatches raise the value too much, where what they add is known to a third.

    What the step size adds counts with it where that is the smaller part, so that two biases below 5 % are not silent.
    """
    added, stepped, own = evidence.bias.noise_bias, evidence.bias.predicted_bias, evidence.value
    sure = added > NOISE_ERRORS * evidence.bias.noise_bias_stderr
    return sure and any(heat > own.stderr and much(heat, own.value) for heat in together(added, stepped))


def much(heat: float, value: float) -> bool:
    """Says whether what was added is more than 5 % of what the value is without."""
    return heat > NOISE_SHARE * abs(value - heat)


def together(more: float, less: float) -> tuple[float, float]:
    """Returns a bias by itself, and with another one where that is known and the smaller."""
    return more, more + less if 0 < less <= more else more
