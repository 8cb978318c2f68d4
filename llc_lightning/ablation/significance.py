"""Intervals and p-values of effects, from their values per example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.runtime.errors import at_least
from llc_lightning.runtime.seeding import derive_seed

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

LEVEL = 0.95
"""Probability of the intervals."""
FEWEST = 99
"""Resamples: with fewer, a p-value is coarse and an interval has no ends."""
_MOST = 4096
"""Up to so many examples are resampled; with more, the normal limit of both is as good."""


def with_statistics(effects: Sequence[Effect], *, resamples: int, seed: int, level: float = LEVEL) -> list[Effect]:
    """Returns effects whose details tell ``low`` and ``high``, ``p``, and ``p_adjusted`` over the components.

    p-values are adjusted within each method and loss, over all components that are measured, by the false discovery
    rate (Benjamini and Hochberg 1995). Effects without values per example (those on tasks) are left as they are.

    Args:
        effects: Of a sweep with ``per_example=True``.
        resamples: Number of bootstrap samples, and of sign flips.
        seed: The run's seed.
        level: Probability of the intervals.

    Raises:
        SettingError: If there are fewer than 99 resamples.
    """
    at_least(FEWEST, resamples=resamples)
    tested = [_one(effect, resamples, seed, level) for effect in effects]
    groups: dict[tuple[str, str], list[int]] = {}
    for place, effect in enumerate(tested):
        if "p" in effect.details:
            groups.setdefault((effect.method, effect.loss), []).append(place)
    for places in groups.values():
        adjusted = adjust([float(tested[place].details["p"]) for place in places])
        for place, p in zip(places, adjusted, strict=True):
            tested[place] = replace(tested[place], details={**tested[place].details, "p_adjusted": p})
    return tested


def adjust(p: Sequence[float]) -> list[float]:
    """Returns p-values adjusted by the false discovery rate (Benjamini and Hochberg 1995); NaN stays NaN."""
    from scipy import stats

    known = [one for one in p if not math.isnan(one)]
    adjusted = iter(stats.false_discovery_control(known).tolist() if known else [])
    return [one if math.isnan(one) else float(next(adjusted)) for one in p]


def sign_flip_p(values: Float[np.ndarray, "example"], *, resamples: int, seed: int) -> float:
    """Returns the two-sided p-value of a mean of 0, for differences that are symmetric around it.

    The signs of the differences are flipped at random, all of them where there are fewer ways than ``resamples``; with
    more than 4096 examples the normal limit is taken.
    """
    import numpy as np
    from scipy import stats

    tests: Any = stats  # their results carry no types
    if not values.any():
        return 1.0
    if len(values) > _MOST:
        return 2 * float(tests.norm.sf(abs(values.sum()) / np.sqrt((values**2).sum())))

    test = tests.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=resamples, vectorized=True, rng=seed
    )
    return float(test.pvalue)


def bootstrap_interval(
    values: Float[np.ndarray, "example"], *, resamples: int, seed: int, level: float = LEVEL
) -> tuple[float, float]:
    """Returns the bootstrap interval of the mean, bias-corrected and accelerated (Efron 1987).

    With more than 4096 examples the normal limit is taken; with few that have heavy tails it is a little too narrow, as
    bootstrap intervals are.
    """
    import numpy as np
    from scipy import stats

    if len(values) > _MOST:
        half = float(stats.norm.ppf((1 + level) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
        return float(values.mean()) - half, float(values.mean()) + half
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, confidence_level=level, batch=256, rng=seed
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _one(effect: Effect, resamples: int, seed: int, level: float) -> Effect:
    if effect.quantity != "ablation_effect" or effect.per_example is None or effect.status != "ok":
        return effect
    values = effect.per_example[effect.per_example.isfinite()].double().numpy()
    keyed = derive_seed(seed, "resampling")
    low, high = bootstrap_interval(values, resamples=resamples, seed=keyed, level=level)
    p = sign_flip_p(values, resamples=resamples, seed=keyed)
    return replace(effect, details={**effect.details, "low": low, "high": high, "p": p})
