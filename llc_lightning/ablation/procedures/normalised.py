"""Effects as shares of what lies between two runs."""

import math
from collections.abc import Mapping, Sequence

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
    known = {name: _Gap(gap.double()) for name, gap in gaps.items()}
    return [
        _with_share(effect, known[effect.loss]) if effect.quantity == "ablation_effect" else effect
        for effect in effects
    ]


class _Gap:
    """A gap, with what all effects on its loss need to know of it where every example counts."""

    def __init__(self, values: Float[Tensor, "example"]) -> None:
        self.values, self.finite = values, values.isfinite()
        self.whole, self.mean = bool(self.finite.all()), float(values.mean())
        self.tells = len(values) > 1 and abs(self.mean) > _APART * float(values.std()) / len(values) ** 0.5


def _with_share(effect: Effect, gap: _Gap) -> Effect:
    share = error = math.nan
    if effect.per_example is not None:
        values, finite = effect.per_example.double(), effect.per_example.isfinite()
        if not gap.whole or not bool(finite.all()):
            known = finite & gap.finite
            values, gap = values[known], _Gap(gap.values[known])
        if gap.tells:
            share = float(values.mean()) / gap.mean
            error = float((values - share * gap.values).std()) / len(values) ** 0.5 / abs(gap.mean)
    return effect.changed(details={**effect.details, **dict(zip(NORMALISED, (share, error), strict=True))})
