"""Do the ways to ablate agree: rank correlations between methods, and the components that they disagree about."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.correlation import Correlation, ranks, spearman
from llc_lightning.results.schema import COMMON

CLEAR = 0.05
"""An effect is clear where its adjusted p-value is below this."""
_FITTED = ("optimal",)
"""Methods that fit on some of the examples that they are given and measure on the others."""


@dataclass(frozen=True)
class Disagreement:
    """One component that two methods see differently."""

    component: str
    methods: tuple[str, str]
    effects: tuple[float, float]
    ranks: tuple[float, float]
    """Share of the components below it, from 0 to 1, by each method."""
    clear: tuple[bool, bool]
    """Whether each effect is clear of 0, adjusted over the components."""


@dataclass(frozen=True)
class MethodAgreement:
    """How methods agree at one step, over the components of one kind on one loss."""

    step: int
    kind: str
    loss: str
    methods: tuple[str, ...]
    components: tuple[str, ...]
    effects: Float[np.ndarray, "component method"]
    """NaN where an effect is not ok."""
    correlations: dict[tuple[str, str], Correlation]
    """Rank correlation of every two methods."""
    disagreements: tuple[Disagreement, ...]
    """Components that one method alone finds clear, or whose ranks lie far apart; the farthest first."""
    examples: dict[str, int]
    """How many examples each method was measured on: the same ones, of which a fitted method takes a part."""
    left_out: tuple[str, ...]
    """Methods that were measured on other examples alone, so that they cannot be compared."""

    @property
    def told(self) -> str:
        """Says which examples are not those of all methods, and which methods are left out for that; '' for none."""
        most = max(self.examples.values())
        parts = [f"{name} on {n} of the {most} examples" for name, n in self.examples.items() if n < most]
        said = [f"Measured on a part, which it was not fitted on: {', '.join(parts)}."] if parts else []
        out = f"Left out, since they may be measured on other examples or settings: {', '.join(self.left_out)}."
        return " ".join([*said, *([out] if self.left_out else [])])


@revisions.of_newest
def method_agreement(
    rows: pd.DataFrame, *, step: int | None = None, kind: str | None = None, loss: str = "train", apart: float = 0.5
) -> MethodAgreement | None:
    """Returns how methods agree; None where fewer than two were measured on the same examples.

    Effects on different examples are not compared: of all sets of examples the one with the most methods is taken.

    Args:
        rows: The measurement table.
        step: The training step; None takes the last one with effects.
        kind: Kind of component; None takes the smallest units measured.
        loss: The loss that the effects are on.
        apart: Ranks (shares of the components below) so far apart are a disagreement.
    """
    kind = kind or table.unit_kind(rows) or ""
    effects = table.select(rows, quantity="ablation_effect", kind=kind, loss=loss)
    if not len(effects):
        return None
    step = table.steps(effects)[-1] if step is None else step
    every = table.select(effects, step=step)
    here = _on_the_same_examples(every)
    methods = tuple(sorted(table.distinct(here, "method")))
    components = tuple(table.natural(table.distinct(here, "component")))
    if len(methods) < 2:
        return None
    good = here.loc[table.ok(here)].drop_duplicates(["component", "method"], keep="last")
    judged = pd.concat([part.assign(value=adjusted_p(part)) for _, part in good.groupby("method")])
    values, p = (table.matrix(some, ("component", components), ("method", methods)) for some in (good, judged))
    pairs = list(combinations(range(len(methods)), 2))
    correlations = {(methods[a], methods[b]): _correlation(values[:, [a, b]]) for a, b in pairs}
    found = [one for a, b in pairs for one in _disagreements(components, methods, values, p < CLEAR, (a, b), apart)]
    found.sort(key=lambda one: -abs(one.ranks[0] - one.ranks[1]))
    counts = {name: int(table.numbers(table.select(here, method=name), "n_examples").max()) for name in methods}
    left_out = tuple(sorted(table.distinct(every, "method") - set(methods)))
    return MethodAgreement(step, kind, loss, methods, components, values, correlations, tuple(found), counts, left_out)


def _on_the_same_examples(effects: pd.DataFrame) -> pd.DataFrame:
    """Returns the effects on one set of examples, that with the most methods, then components, then examples.

    The settings of a row name the examples that were asked for and the revision of the method, so that methods are
    compared by the settings in the details, which name the first alone. The number of examples says how many of
    them count. It is smaller for a fitted method, whose examples are a part of those that its settings name.
    """
    told = zip(table.details(effects), table.texts(effects, "settings"), strict=True)
    settings, n = np.array([one.get(COMMON, own) for one, own in told]), table.numbers(effects, "n_examples")
    fitted = np.array([name.partition("(")[0] in _FITTED for name in table.texts(effects, "method")])
    sets: list[pd.DataFrame] = [
        effects.loc[(settings == name) & ((n == count) | (fitted & (n < count)))]
        for name, count in sorted(set(zip(settings.tolist(), n.tolist(), strict=True)), key=lambda one: one[1])
    ]

    def size(one: pd.DataFrame) -> tuple[int, int]:
        good = one.loc[table.ok(one)]
        return len(table.distinct(good, "method")), len(table.distinct(good, "component"))

    return max(reversed(sets), key=size)


def adjusted_p(effects: pd.DataFrame) -> Float[np.ndarray, "row"]:
    """Returns the p-values of effects against 0, adjusted over the rows by the false discovery rate.

    Where the details tell a sign-flip p-value it is taken, elsewhere the normal one of value and standard error
    (Benjamini and Hochberg 1995 for the adjustment). Give each component once, since every row counts.
    """
    from scipy.stats import false_discovery_control  # takes a third of a second

    told = np.array([record.get("p") for record in table.details(effects)], dtype=np.float64)
    value, error = table.numbers(effects, "value"), table.numbers(effects, "stderr")
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = 2 * special.ndtr(-np.abs(value) / error)
    p = np.where(np.isnan(told), np.where(value == 0, 1.0, normal), told)
    known = np.isfinite(p)
    adjusted = np.full(len(p), np.nan)
    if known.any():
        adjusted[known] = false_discovery_control(p[known])
    return adjusted


def _correlation(pair: Float[np.ndarray, "component two"]) -> Correlation:
    both = pair[np.isfinite(pair).all(1)]
    return spearman(both[:, 0], both[:, 1], permutations=0)


def _disagreements(
    components: Sequence[str],
    methods: Sequence[str],
    values: Float[np.ndarray, "component method"],
    clear: np.ndarray,
    pair: tuple[int, int],
    apart: float,
) -> list[Disagreement]:
    both = np.flatnonzero(np.isfinite(values[:, list(pair)]).all(1))
    if len(both) < 2:
        return []
    places = [(ranks(values[both, one]) - 1) / (len(both) - 1) for one in pair]
    found: list[Disagreement] = []
    for at, component in enumerate(both.tolist()):
        here = (float(places[0][at]), float(places[1][at]))
        seen = (bool(clear[component, pair[0]]), bool(clear[component, pair[1]]))
        if seen[0] != seen[1] or (any(seen) and abs(here[0] - here[1]) >= apart):
            effects = (float(values[component, pair[0]]), float(values[component, pair[1]]))
            found.append(Disagreement(components[component], (methods[pair[0]], methods[pair[1]]), effects, here, seen))
    return found
