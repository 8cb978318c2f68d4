"""A step size that heats the chains."""

import math

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.llc.diagnostics.batch_noise import NOISE_SHARE, much, together
from llc_lightning.llc.estimators import Estimate, plain_gap, unexplained

STEP_BIAS_SHARE = NOISE_SHARE
STEP_BIAS_ERRORS = 3.0


@REASONS.register(
    "step-bias",
    summary=f"the step size adds more than {STEP_BIAS_SHARE:.0%} of the value: by the formula where there is one, else "
    f"by a virial above its prediction by more than {STEP_BIAS_ERRORS:.0f} errors",
    sentence="the step size heats the chains and raises the value by more than 5 %; lower step_fraction or the step "
    "size, or use another sampler (lm, mala).",
    order=56,
    revision=2,
)
def step_bias(evidence: Evidence) -> bool:
    """Says whether the step size makes the value too high.

    The virial is compared with what it should be on the way to equilibrium, so that directions that have not settled do
    not hide the heat. What the noise of minibatches adds counts with the formula where it is the smaller part.
    """
    value, predicted, noise = evidence.value.value, evidence.bias.predicted_bias, evidence.bias.noise_bias
    by_formula = any(much(heat, value) for heat in together(predicted, noise))
    own = 0.0 if math.isnan(noise) else noise  # what minibatches add has a reason of its own
    return by_formula or any(_hot(rest, value, own) for rest in (unexplained(evidence.kept), plain_gap(evidence.kept)))


def _hot(rest: Estimate | None, value: float, noise: float) -> bool:
    if rest is None:
        return False
    heat = -rest.value - noise
    return heat > STEP_BIAS_ERRORS * rest.stderr and heat > STEP_BIAS_SHARE * abs(value - heat)
