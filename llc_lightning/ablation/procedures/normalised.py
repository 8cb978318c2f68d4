"""Effects as shares of what lies between two runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.effect import Effect

NORMALISED = ("normalised", "normalised_stderr")
"""The details that tell an effect's share, and its standard error."""
_APART = 3
"""Standard errors of the gap: a share of less says nothing."""


def normalised(effects: Sequence[Effect], gaps: Mapping[str, Float[Tensor, "example"]]) -> list[Effect]:
    """Returns effects whose details tell which share of a gap they are: ``mean(effect) / mean(gap)``.

    The standard error is that of a ratio, SD of ``effect - share * gap`` over ``sqrt(n) |mean(gap)|``; examples with a
    gap of no number do not count. Both are NaN where the gap is within three of its own standard errors of 0: there is
    nothing to share.

    Args:
        effects: With their values per example.
        gaps: What lies between the two runs, by loss.
    """
    return [
        _with_share(effect, gaps[effect.loss]) if effect.quantity == "ablation_effect" else effect for effect in effects
    ]


def _with_share(effect: Effect, gap: Float[Tensor, "example"]) -> Effect:
    share = error = math.nan
    if effect.per_example is not None:
        known = effect.per_example.isfinite() & gap.isfinite()
        values, gap = effect.per_example[known].double(), gap[known].double()
        root = max(len(gap), 1) ** 0.5
        mean = float(gap.mean())
        if len(gap) > 1 and abs(mean) > _APART * float(gap.std()) / root:
            share = float(values.mean()) / mean
            error = float((values - share * gap).std()) / root / abs(mean)
    return replace(effect, details={**effect.details, **dict(zip(NORMALISED, (share, error), strict=True))})
