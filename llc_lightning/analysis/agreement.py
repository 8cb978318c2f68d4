"""Do weight space and activation space order the units alike: wrLLC against ablation effect at matched resolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.correlation import PERMUTATIONS, Correlation, partial_spearman, spearman

TARGET = 10.0
"""n_beta x effect at which the rank correlation is quoted: it peaks between 5 and 25. Below, the prior hides the unit;
above, all units saturate."""

_USED = ("llc", "ablation_effect", "weight_norm")
_METHODS = ("zero", "mean", "resample", "noise")


@dataclass(frozen=True)
class Rung:
    """One step of the ladder of resolutions."""

    n_beta: float
    gamma: float
    resolution: float
    """Median of n_beta x effect over the units."""


@dataclass(frozen=True)
class Agreement:
    """How two views of the units agree at one step and one resolution; all correlations are rank correlations."""

    step: int
    kind: str
    rung: Rung
    units: int
    """Units whose wrLLC is ok at this rung; each correlation says how many pairs it used."""
    left_out: int
    """Units whose wrLLC is not ok there."""
    methods: Mapping[str, Correlation]
    """wrLLC against the effect on the training loss, by ablation method."""
    reliability: Correlation | None
    """wrLLC against its replicate from other random streams; None where there is no replicate."""
    effect_reliability: Mapping[str, float]
    """1 - mean(stderr^2) / variance over units, by method: how much of the effect's spread is no sampling error."""
    norm_methods: Mapping[str, Correlation]
    """Weight norm |w| of the unit against the effect, by method: what wrLLC must beat."""
    norm_llc: Correlation | None
    """Weight norm against wrLLC."""
    partial: Mapping[str, Correlation]
    """wrLLC against the effect with the weight norm held fixed, by method."""


@revisions.of_newest
def rungs(rows: pd.DataFrame, *, step: int, kind: str | None = None, method: str = "zero") -> list[Rung]:
    """Returns the measured resolutions of a step that have a positive median of n_beta x effect over ok units."""
    llc = table.select(table.restricted_llc(rows, kind=kind), step=step)
    effect = _by_unit(_effects(rows, step, method))
    parts = [(at, _by_unit(part)) for at, part in table.by(llc, "n_beta", "gamma")]
    matched = [(at, [at[0] * effect[unit] for unit in units if unit in effect]) for at, units in parts]
    found = [Rung(at[0], at[1], float(np.median(resolutions))) for at, resolutions in matched if resolutions]
    return [rung for rung in found if rung.resolution > 0]


@revisions.of_newest
def agreement(
    rows: pd.DataFrame,
    *,
    step: int | None = None,
    kind: str | None = None,
    methods: Sequence[str] | None = None,
    match: str = "zero",
    target: float = TARGET,
    level: float = table.LEVEL,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Agreement | None:
    """Returns the agreement at the rung whose median n_beta x effect is nearest ``target``; None where there is none.

    Only ok rows enter. The choice of n_beta decides the correlation, so it is made by the rule and never by hand.

    Args:
        rows: The measurement table.
        step: Training step; None takes the last one that has a rung.
        kind: Kind of component; None takes the smallest units measured.
        methods: Ablation methods; None takes all in the table.
        match: The method whose effect defines the resolution.
        target: The resolution to be near, on a logarithmic scale.
        level: Probability of the intervals.
        permutations: Number of permutations of each test; 0 leaves the p-values out.
        seed: Seed of the permutations.
    """
    kind = kind or table.unit_kind(rows) or ""
    rows = table.select(rows, quantity=_USED, kind=kind, loss="train")
    options = table.steps(rows) if step is None else [step]
    ladders = ((one, rungs(rows, step=one, kind=kind, method=match)) for one in reversed(options))
    found = next(((one, ladder) for one, ladder in ladders if ladder), None)
    if found is None:
        return None
    step, ladder = found
    rung = min(ladder, key=lambda one: abs(np.log(one.resolution / target)))
    units = table.select(rows, quantity="llc", step=step, n_beta=rung.n_beta, gamma=rung.gamma)
    units = units.loc[np.asarray(units["component"] == units["params_moved"], dtype=bool)]
    first = table.first_replicate(units)
    llc, again = _by_unit(first), _by_unit(units.loc[np.equal(table.replicates(units), 1)])
    norm = _by_unit(table.select(rows, quantity="weight_norm", step=step))
    measured = table.distinct(table.select(rows, quantity="ablation_effect", step=step), "method")
    names = table.in_order(measured, _METHODS) if methods is None else methods
    effects = {name: _by_unit(_effects(rows, step, name)) for name in names}

    def correlate(left: Mapping[str, float], right: Mapping[str, float]) -> Correlation:
        return spearman(*_paired(left, right), seed=seed, level=level, permutations=permutations)

    return Agreement(
        step=step,
        kind=kind,
        rung=rung,
        units=len(llc),
        left_out=len(first) - len(llc),
        methods={name: correlate(llc, effect) for name, effect in effects.items()},
        reliability=correlate(llc, again) if again else None,
        effect_reliability={name: _reliability(_effects(rows, step, name)) for name in effects},
        norm_methods={name: correlate(norm, effect) for name, effect in effects.items()} if norm else {},
        norm_llc=correlate(norm, llc) if norm else None,
        partial={
            name: partial_spearman(*_paired(llc, effect, norm), seed=seed, level=level, permutations=permutations)
            for name, effect in (effects if norm else {}).items()
        },
    )


@revisions.of_newest
def agreements(rows: pd.DataFrame, *, kind: str | None = None, level: float = table.LEVEL) -> list[Agreement]:
    """Returns the agreement at every step that has one, each at its own matched rung, without p-values."""
    rows = table.select(rows, quantity=_USED, loss="train")
    every = (
        agreement(table.select(rows, step=step), step=step, kind=kind, level=level, permutations=0)
        for step in table.steps(rows)
    )
    return [one for one in every if one is not None]


def _effects(rows: pd.DataFrame, step: int, method: str) -> pd.DataFrame:
    return table.select(rows, quantity="ablation_effect", step=step, method=method, loss="train")


def _by_unit(rows: pd.DataFrame) -> dict[str, float]:
    """Returns the ok value of each component; of several settings the one with the most examples."""
    good = rows.loc[table.ok(rows)].sort_values("n_examples", kind="stable")
    return dict(zip(table.texts(good, "component"), table.numbers(good, "value").tolist(), strict=True))


def _paired(*columns: Mapping[str, float]) -> tuple[Float[np.ndarray, "unit"], ...]:
    shared = [unit for unit in columns[0] if all(unit in column for column in columns)]
    return tuple(np.array([column[unit] for unit in shared], dtype=np.float64) for column in columns)


def _reliability(effects: pd.DataFrame) -> float:
    good = effects.loc[table.ok(effects)]
    spread = float(np.var(table.numbers(good, "value"), ddof=1)) if len(good) > 2 else 0.0
    return 1 - float(np.mean(table.numbers(good, "stderr") ** 2)) / spread if spread else float("nan")
