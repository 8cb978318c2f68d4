"""Intervals and p-values of effects, from what every example does to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.runtime.batches import chunks
from llc_lightning.runtime.errors import at_least
from llc_lightning.runtime.seeding import derive_seed

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from torch import Tensor

LEVEL = 0.95
"""Probability of the intervals."""
FEWEST = 99
"""Resamples: with fewer, a p-value is coarse and an interval has no ends."""
_MOST = 4096
"""Up to so many examples are resampled; with more, Student's distribution is as good."""
_TOGETHER = 64
"""Effects of one product of matrices; always so many, so that the bits of one do not depend on the others."""
_SUPPORTED = 25
"""So many resamples of a thousand must lie beyond a p-value that they are counted for; those below have a tail."""


def check_resamples(resamples: int) -> None:
    """Checks a number of bootstrap samples: 0 for none, or as many as p-values need.

    Raises:
        SettingError: If it is neither.
    """
    at_least(0, resamples=resamples)
    at_least(FEWEST if resamples else 0, resamples=resamples)


def with_statistics(effects: Sequence[Effect], *, resamples: int, seed: int, level: float = LEVEL) -> list[Effect]:
    """Returns effects whose details tell ``low`` and ``high``, ``p``, and ``p_adjusted`` over the components.

    p-values are adjusted within each method and loss, over all components that are measured, by the false discovery
    rate (Benjamini and Hochberg 1995). Effects without values per example (those on tasks) are left as they are, and
    those that have no standard error.

    Args:
        effects: Of a sweep with ``per_example=True``.
        resamples: Number of bootstrap samples, the same for all effects.
        seed: The run's seed.
        level: Probability of the intervals.

    Raises:
        SettingError: If there are fewer than 99 resamples.
    """
    at_least(FEWEST, resamples=resamples)
    told = list(effects)
    by_size: dict[int, list[int]] = {}
    for place, effect in enumerate(effects):
        if effect.quantity == "ablation_effect" and effect.per_example is not None and math.isfinite(effect.stderr):
            by_size.setdefault(len(_influences(effect)), []).append(place)
    for places in by_size.values():
        found = studentised([effects[place] for place in places], resamples=resamples, seed=seed, level=level)
        for place, each in zip(places, found, strict=True):
            known = {"low": each.low, "high": each.high, "p": each.p}
            told[place] = replace(effects[place], details={**effects[place].details, **known})
    return _adjusted(told)


@dataclass(frozen=True)
class Statistics:
    """Of one effect: the ends of its interval, and the two-sided p-value of none."""

    low: float
    high: float
    p: float


def studentised(effects: Sequence[Effect], *, resamples: int, seed: int, level: float = LEVEL) -> list[Statistics]:
    """Returns the symmetric bootstrap-t interval and p-value of effects with the same number of examples.

    Influences are resampled with replacement; ``|t*|`` of the resamples, each with the standard error of its own, takes
    the place of Student's distribution (Hall 1988, Annals of Statistics 16(3)): both keep their level where effects are
    skewed, as losses are, to higher order than ``+- 1.96`` standard errors or the flipping of signs, which is exact for
    symmetric effects alone. A p-value that few resamples support has the tail of Student's distribution, scaled to
    meet the resamples where these still support it. With more than 4096 examples Student's distribution is taken.
    """
    import numpy as np
    from scipy import stats

    tests: Any = stats  # its functions carry no types
    n = len(_influences(effects[0]))
    freedom, beyond = n - 1, max(10, _SUPPORTED * (resamples + 1) // 1000)
    t = np.array([abs(each.value) / each.stderr if each.stderr else math.inf * abs(each.value) for each in effects])
    t = np.nan_to_num(t, nan=0.0, posinf=math.inf)  # an effect of exactly 0 has no error
    known = float(tests.t.isf((1 - level) / 2, freedom))
    ends, scale, counted = np.full(len(effects), known), np.ones(len(effects)), np.zeros(len(effects))
    if n <= _MOST:
        weights = _weights(n, resamples, derive_seed(seed, "resampling"))
        share = beyond / (resamples + 1)
        for some in chunks(len(effects), _TOGETHER):
            sizes = np.sort(_resampled(weights, [_influences(each) for each in effects[some]]), axis=0)
            ends[some] = sizes[min(resamples - 1, math.ceil(level * (resamples + 1)) - 1)]
            scale[some] = sizes[resamples - beyond] / tests.t.isf(share / 2, freedom)
            counted[some] = (sizes >= t[some]).sum(0)
    # Of very few examples some resamples have no spread at all.
    ends = np.where(np.isfinite(ends), ends, known)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
    tail = 2 * tests.t.sf(t / scale, freedom)
    p = np.where(counted >= beyond, (counted + 1) / (resamples + 1), tail).clip(np.finfo(np.float64).tiny, 1.0)
    return [
        Statistics(each.value - end * each.stderr, each.value + end * each.stderr, one)
        for each, end, one in zip(effects, ends.tolist(), p.tolist(), strict=True)
    ]


def adjust(p: Sequence[float]) -> list[float]:
    """Returns p-values adjusted by the false discovery rate (Benjamini and Hochberg 1995); NaN stays NaN."""
    from scipy import stats

    known = [one for one in p if not math.isnan(one)]
    adjusted = iter(stats.false_discovery_control(known).tolist() if known else [])
    return [one if math.isnan(one) else float(next(adjusted)) for one in p]


def _adjusted(effects: list[Effect]) -> list[Effect]:
    """Returns effects with their p-values adjusted within each method and loss."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, effect in enumerate(effects):
        if "p" in effect.details:
            groups.setdefault((effect.method, effect.loss), []).append(place)
    for places in groups.values():
        adjusted = adjust([float(effects[place].details["p"]) for place in places])
        for place, p in zip(places, adjusted, strict=True):
            effects[place] = replace(effects[place], details={**effects[place].details, "p_adjusted": p})
    return effects


def _influences(effect: Effect) -> Tensor:
    """Returns what every example does to an effect, around 0 or not."""
    if effect.influences is not None:
        return effect.influences
    assert effect.per_example is not None  # noqa: S101 - asked before
    return effect.per_example[effect.per_example.isfinite()]


def _weights(n: int, resamples: int, seed: int) -> Float[np.ndarray, "resample example"]:
    """Returns how often every example is in every resample."""
    import numpy as np

    draw = np.random.default_rng(seed)
    return np.stack([np.bincount(draw.integers(n, size=n), minlength=n) for _ in range(resamples)]).astype(np.float32)


def _resampled(
    weights: Float[np.ndarray, "resample example"], influences: Sequence[Tensor]
) -> Float[np.ndarray, "resample effect"]:
    """Returns ``|t|`` of the mean in every resample, around the mean of all."""
    import numpy as np

    n = weights.shape[1]
    values = np.zeros((n, _TOGETHER))
    for at, each in enumerate(influences):
        values[:, at] = each.double().numpy()
    values -= values.mean(0)
    spread = values.std(0)
    values = (values / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    means, squares = weights @ values / n, weights @ np.square(values) / n
    variance = (squares - means**2).clip(0) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = np.abs(means) / np.sqrt(variance)
    return np.nan_to_num(sizes, nan=0.0, posinf=np.inf)[:, : len(influences)]
