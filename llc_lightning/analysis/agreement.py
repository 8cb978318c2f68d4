"""Do weight space and activation space order the units alike: wrLLC against ablation effect at matched resolution."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.correlation import PERMUTATIONS, Correlation, partial_spearman, spearman

TARGET = 10.0
"""n_beta x effect at which the rank correlation is quoted: it peaks between 5 and 25. Below, the prior hides the unit;
above, all units saturate."""

_USED = ("llc", "ablation_effect", "weight_norm")
_NAMED = ("quantity", "component", "method", "value", "stderr", "n_beta", "gamma", "replicate")
_COLUMNS = [*_NAMED, "step", "kind", "loss", "params_moved", "status", "n_examples"]
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
    seen = _seen(table.select(rows, step=step), kind or table.unit_kind(rows) or "")
    return [rung for here in seen for rung in here.rungs(method)]


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
    seen = _seen(rows if step is None else table.select(rows, step=step), kind, last_first=True)
    here = next((one for one in seen if one.rungs(match)), None)
    if here is None:
        return None
    rung = _nearest(here.rungs(match), target)
    llc, again = here.llc[rung.n_beta, rung.gamma], here.again.get((rung.n_beta, rung.gamma), {})
    norm = here.norm
    effects = {name: here.effects[name] for name in here.methods(methods)}

    def correlate(left: _Values, right: _Values) -> Correlation:
        return spearman(*_paired(left, right), seed=seed, level=level, permutations=permutations)

    return Agreement(
        step=here.step,
        kind=kind,
        rung=rung,
        units=len(llc),
        left_out=here.asked[rung.n_beta, rung.gamma] - len(llc),
        methods={name: correlate(llc, effect) for name, effect in effects.items()},
        reliability=correlate(llc, again) if again else None,
        effect_reliability={name: _reliability(effect) for name, effect in effects.items()},
        norm_methods={name: correlate(norm, effect) for name, effect in effects.items()} if norm else {},
        norm_llc=correlate(norm, llc) if norm else None,
        partial={
            name: partial_spearman(*_paired(llc, effect, norm), seed=seed, level=level, permutations=permutations)
            for name, effect in (effects if norm else {}).items()
        },
    )


@dataclass(frozen=True)
class AgreementAt:
    """The rank correlations of wrLLC with the effects at one step and its matched resolution."""

    step: int
    rung: Rung
    units: int
    left_out: int
    methods: Mapping[str, Correlation]


@revisions.of_newest
def agreements(rows: pd.DataFrame, *, kind: str | None = None, level: float = table.LEVEL) -> list[AgreementAt]:
    """Returns the correlations at every step that has some, each at its own matched rung, without p-values."""
    found: list[AgreementAt] = []
    for here in _seen(rows, kind or table.unit_kind(rows) or ""):
        ladder = here.rungs("zero")
        if not ladder:
            continue
        rung = _nearest(ladder, TARGET)
        at = (rung.n_beta, rung.gamma)
        methods = {
            name: spearman(*_paired(here.llc[at], here.effects[name]), level=level, permutations=0)
            for name in here.methods(None)
        }
        found.append(AgreementAt(here.step, rung, len(here.llc[at]), here.asked[at] - len(here.llc[at]), methods))
    return found


_Values: TypeAlias = dict[str, tuple[float, float]]
"""Value and stderr by component."""


@dataclass
class _Seen:
    """The units at one step by both views; ok values alone, of several settings that with the most examples."""

    step: int
    llc: dict[tuple[float, float], _Values] = field(default_factory=dict[tuple[float, float], _Values])
    """wrLLC by n_beta and gamma."""
    asked: Counter[tuple[float, float]] = field(default_factory=Counter[tuple[float, float]])
    """How many units were measured, ok or not."""
    again: dict[tuple[float, float], _Values] = field(default_factory=dict[tuple[float, float], _Values])
    """wrLLC from other random streams."""
    effects: dict[str, _Values] = field(default_factory=dict[str, _Values])
    norm: _Values = field(default_factory=_Values)

    def rungs(self, method: str) -> list[Rung]:
        """Returns the resolutions that have a positive median of n_beta x effect."""
        effect = self.effects.get(method, {})
        found = [
            Rung(*at, float(np.median([at[0] * effect[unit][0] for unit in values if unit in effect])))
            for at, values in sorted(self.llc.items())
            if any(unit in effect for unit in values)
        ]
        return [rung for rung in found if rung.resolution > 0]

    def methods(self, wanted: Sequence[str] | None) -> Sequence[str]:
        """Returns the methods to compare with, those that were measured by default."""
        return table.in_order(self.effects, _METHODS) if wanted is None else wanted


def _seen(rows: pd.DataFrame, kind: str, *, last_first: bool = False) -> Iterator[_Seen]:
    """Yields both views of the units of a kind at every step, in the order of the steps or against it."""
    used = table.select(rows[_COLUMNS], quantity=_USED, kind=kind, loss="train")
    used = used.sort_values(["step", "n_examples"], kind="stable")
    told = {name: used[name].tolist() for name in _NAMED}
    own = np.asarray(used["component"] == used["params_moved"], dtype=bool).tolist()
    every = list(zip(own, table.ok(used).tolist(), *told.values(), strict=True))
    steps = used["step"].to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)] if len(steps) else []
    parts = list(pairwise(edges))
    return (_seen_at(int(steps[start]), every[start:stop]) for start, stop in (parts[::-1] if last_first else parts))


def _seen_at(step: int, rows: list[tuple[Any, ...]]) -> _Seen:
    here = _Seen(step)
    for its_own, good, quantity, unit, method, value, error, n_beta, gamma, replicate in rows:
        if quantity == "ablation_effect":
            into = here.effects.setdefault(method, {})
        elif quantity == "weight_norm":
            into = here.norm
        elif its_own and replicate <= 1:
            here.asked[n_beta, gamma] += replicate == 0
            into = (here.again if replicate else here.llc).setdefault((n_beta, gamma), {})
        else:
            continue
        if good:
            into[unit] = (value, error)
    return here


def _nearest(ladder: Sequence[Rung], target: float) -> Rung:
    return min(ladder, key=lambda one: abs(np.log(one.resolution / target)))


def _paired(*columns: _Values) -> tuple[Float[np.ndarray, "unit"], ...]:
    shared = [unit for unit in columns[0] if all(unit in column for column in columns)]
    return tuple(np.array([column[unit][0] for unit in shared], dtype=np.float64) for column in columns)


def _reliability(effects: _Values) -> float:
    values, errors = (np.array([one[side] for one in effects.values()]) for side in (0, 1))
    spread = float(np.var(values, ddof=1)) if len(values) > 2 else 0.0
    return 1 - float(np.mean(errors**2)) / spread if spread else float("nan")
