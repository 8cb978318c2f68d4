"""Every score from the weights' surroundings against every ablation effect, at the matched resolution.

What a correlation may be is bounded by how well each side repeats itself: beside it stand the reliability of both, and
the correlation that would be without their errors (Spearman 1904): rho / sqrt(reliability of one x of the other).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.agreement import TARGET, Rung, rungs
from llc_lightning.analysis.correlation import PERMUTATIONS, Correlation, partial_spearman, spearman
from llc_lightning.analysis.scores import EFFECT, LLC, scores

MATCHED = (TARGET / 2, 2.5 * TARGET)
"""Median n_beta x zero effect of a rung that is called matched."""
_BOOTSTRAP = 1000
_LEAST = 6
"""Components that a correlation needs."""


@dataclass(frozen=True)
class Association:
    """How one score from the weights' surroundings and one ablation effect order the components."""

    llc: str
    method: str
    step: int
    rung: Rung
    """The resolution of the score, where it has one."""
    rho: Correlation
    """Rank correlation; its interval is the bootstrap's over components."""
    reliability: float
    """Rank correlation of the score with its replicate; NaN where there is none."""
    effect_reliability: float
    """Share of the effect's spread over components, in ranks, that is no sampling error."""
    corrected: float
    """The correlation without the errors of either side, by chance above 1; NaN where a reliability is not positive."""
    partial: Correlation | None
    """With the weight norm held fixed."""

    @property
    def matched(self) -> bool:
        """Whether the median n_beta x zero effect is where the rank correlation is quoted, between 5 and 25."""
        low, high = MATCHED
        return low <= self.rung.resolution <= high


@dataclass(frozen=True)
class Associations:
    """All pairs of scores at one step and its resolution."""

    step: int
    kind: str
    rung: Rung
    pairs: tuple[Association, ...]

    def of(self, llc: str, method: str) -> Association | None:
        """Returns the pair of two scores, None where it was not measured."""
        return next((one for one in self.pairs if (one.llc, one.method) == (llc, method)), None)


@revisions.of_newest
def associations(
    rows: pd.DataFrame,
    *,
    step: int | None = None,
    kind: str | None = None,
    target: float = TARGET,
    level: float = table.LEVEL,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Associations | None:
    """Returns how all scores from the weights' surroundings agree with all effects; None where no rung was measured.

    The rung is that whose median n_beta x zero effect is nearest ``target``; :attr:`Association.matched` says whether
    it is near. Only ok values enter, and no score of another rung. Scores that fewer than six components have are left
    out.

    Args:
        rows: The measurement table.
        step: Training step; None takes the last one that has a rung.
        kind: Kind of component; None takes the smallest units measured.
        target: The resolution to be near, on a logarithmic scale.
        level: Probability of the intervals.
        permutations: Number of permutations of each test; 0 leaves the p-values out.
        seed: Of permutations and resamples.

    Raises:
        DataError: If a component has one score under several settings.
    """
    kind = kind or table.unit_kind(rows) or ""
    asked = table.steps(rows)[::-1] if step is None else [step]
    ladder: list[Rung] = []
    for step in asked:
        ladder = rungs(rows, step=step, kind=kind)
        if ladder:
            break
    if not ladder or step is None:
        return None
    rung = min(ladder, key=lambda one: abs(np.log(one.resolution / target)))
    found = list(_pairs(rows, step, rung, kind, level, permutations, seed))
    return Associations(step, kind, rung, tuple(found))


def _pairs(
    rows: pd.DataFrame, step: int, rung: Rung, kind: str, level: float, permutations: int, seed: int
) -> Iterator[Association]:
    first, again = (_wide(rows, step, rung, kind, replicate) for replicate in (0, 1))
    norm = first.values.get("weight_norm")
    for llc in first.of(LLC):
        reliability = _rho(*_shared(first.values[llc], again.values.get(llc)))
        for method in first.of(EFFECT):
            x, y = _shared(first.values[llc], first.values[method])
            if len(x) < _LEAST:
                continue
            whole = spearman(x, y, seed=seed, level=level, permutations=permutations)
            low, high = _interval(x, y, level, seed) if whole.defined else (float("nan"),) * 2
            _, values, errors = _shared(first.values[llc], first.values[method], first.errors[method])
            by_error = _reliability(values, errors, seed)
            partial: Correlation | None = None
            if norm is not None:
                given = _shared(first.values[llc], first.values[method], norm)
                partial = partial_spearman(*given, seed=seed, level=level, permutations=permutations)
            yield Association(
                llc=llc,
                method=method,
                step=step,
                rung=rung,
                rho=Correlation(whole.rho, low, high, whole.p, whole.n),
                reliability=reliability,
                effect_reliability=by_error,
                corrected=_corrected(whole.rho, reliability, by_error),
                partial=partial,
            )


@dataclass(frozen=True)
class _Wide:
    """Ok values of every score by component."""

    values: dict[str, dict[str, float]]
    errors: dict[str, dict[str, float]]
    views: dict[str, str]

    def of(self, view: str) -> list[str]:
        """Returns the scores of one view."""
        return [name for name, its in self.views.items() if its == view]


def _reliability(values: Float[np.ndarray, "component"], errors: Float[np.ndarray, "component"], seed: int) -> float:
    """Returns 1 - E / V, of the variance V of the places of the values and E of their places under their errors.

    A place is how many of the others lie below, since the scores are compared by their ranks: of the values themselves
    a few large ones would make this near 1, however the others are ordered. Errors as large as the values' own spread
    leave 0.26 of normal values instead of 0. NaN where an error is not known.
    """
    if len(values) <= 2 or not np.isfinite(errors).all():
        return float("nan")
    ordered = np.sort(values)
    off = values + errors * np.random.default_rng(seed).standard_normal((_BOOTSTRAP, len(values)))
    places = np.searchsorted(ordered, off) - (off > values)
    spread = float(np.var(np.searchsorted(ordered, values), ddof=1))
    return 1 - float(places.var(axis=0).mean()) / spread if spread else float("nan")


def _wide(rows: pd.DataFrame, step: int, rung: Rung, kind: str, replicate: int) -> _Wide:
    own = rows.loc[np.equal(table.replicates(rows), replicate)].assign(replicate=0)
    if not len(own):
        return _Wide({}, {}, {})
    scored = scores(own, step=step, n_beta=rung.n_beta, gamma=rung.gamma, kind=kind)
    free = np.asarray(scored["n_beta"].isna(), dtype=bool)
    here = np.asarray((scored["n_beta"] == rung.n_beta) & (scored["gamma"] == rung.gamma), dtype=bool)
    good = scored.loc[table.ok(scored) & (free | here)]
    values: dict[str, dict[str, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    views: dict[str, str] = {}
    for name, part in table.by(good, "score"):
        components = table.texts(part, "component")
        values[name] = dict(zip(components, table.numbers(part, "value").tolist(), strict=True))
        errors[name] = dict(zip(components, table.numbers(part, "stderr").tolist(), strict=True))
        views[name] = table.texts(part, "view")[0]
    return _Wide(values, errors, views)


def _shared(*columns: dict[str, float] | None) -> tuple[Float[np.ndarray, "component"], ...]:
    given = [column or {} for column in columns]
    both = [name for name in given[0] if all(name in column for column in given)]
    return tuple(np.array([column[name] for name in both], dtype=np.float64) for column in given)


def _rho(x: Float[np.ndarray, "component"], y: Float[np.ndarray, "component"]) -> float:
    return spearman(x, y, permutations=0).rho if len(x) >= _LEAST else float("nan")


def _corrected(rho: float, *reliabilities: float) -> float:
    product = float(np.prod(reliabilities))
    if not all(one > 0 for one in reliabilities):
        return float("nan")
    return float(rho / np.sqrt(product))


def _interval(
    x: Float[np.ndarray, "component"], y: Float[np.ndarray, "component"], level: float, seed: int
) -> tuple[float, float]:
    """Returns the ends of the interval over resamples of the components."""
    chosen = np.random.default_rng(seed).integers(0, len(x), (_BOOTSTRAP, len(x)))
    low, high = np.quantile(_rank_correlations(x[chosen], y[chosen]), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _rank_correlations(
    x: Float[np.ndarray, "draw component"], y: Float[np.ndarray, "draw component"]
) -> Float[np.ndarray, "defined"]:
    """Returns those of the draws that have one."""
    from scipy.stats import rankdata  # takes a third of a second

    a, b = (np.asarray(rankdata(one, axis=1)) for one in (x, y))
    a, b = (one - one.mean(1, keepdims=True) for one in (a, b))
    sizes = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return (a * b).sum(1)[sizes > 0] / sizes[sizes > 0]
