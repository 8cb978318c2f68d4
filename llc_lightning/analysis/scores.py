"""Every score of the components at one step side by side, and how well each finds the components that matter."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llc_lightning.analysis import revisions, table
from llc_lightning.runtime import status as statuses
from llc_lightning.runtime.errors import DataError
from llc_lightning.runtime.ranking import auroc, average_precision

WHOLE, INCOMING, OUTGOING, SMALLER = "wrLLC", "wrLLC:in", "wrLLC:out", "wrLLC:min"
"""The restricted LLC of all weights of a component, of one side of it, and the smaller of both sides."""

_SIDES = {"": WHOLE, ":in": INCOMING, ":out": OUTGOING}
_OTHERS = (
    *("weight_norm", "llc_ablated", "llc_shift", "llc_unrecovered", "llc_complement", "recovery_gap"),
    *("posterior_effect", "ablated_covariance", "susceptibility", "loss_gain"),
)
_COLUMNS = ["component", "score", "value", "stderr", "status"]
_BOOTSTRAP = 1000


@revisions.of_newest
def scores(rows: pd.DataFrame, *, step: int, n_beta: float, gamma: float, kind: str | None = None) -> pd.DataFrame:
    """Returns one row for each component and score: ``component``, ``score``, ``value``, ``stderr``, ``status``.

    ``wrLLC`` is the restricted LLC of a component; ``wrLLC:in`` that of the weights that make it, ``wrLLC:out`` of
    those that read it (components ``ADDRESS:in`` and ``ADDRESS:out``). What nobody reads is free on the first, what
    never fires on the second, so ``wrLLC:min``, the smaller, is 0 for both; its status has the reasons of both
    sides. Ablation effects on the training loss are named by their method, all else by its quantity, with the method
    behind it where it has one.

    Args:
        rows: The measurement table.
        step: Training step.
        n_beta: Of the scores that come from chains.
        gamma: Of these as well.
        kind: Kind of component; None takes the smallest units measured.
    """
    here = table.first_replicate(table.select(rows, step=step, loss="train"))
    asked = set(table.components(here, kind or table.unit_kind(here)))
    found = pd.concat([pd.DataFrame(columns=_COLUMNS), *_by_score(here, asked, n_beta, gamma)])
    return found.reset_index(drop=True)


def _by_score(rows: pd.DataFrame, asked: set[str], n_beta: float, gamma: float) -> Iterator[pd.DataFrame]:
    at = np.asarray((rows["n_beta"] == n_beta) & (rows["gamma"] == gamma), dtype=bool)
    llc = table.select(rows.loc[at], quantity="llc")
    llc = llc.loc[np.asarray(llc["params_moved"] == llc["component"], dtype=bool)]
    for side, name in _SIDES.items():
        whole = llc["component"].str.removesuffix(side) if side else llc["component"]
        of_side = np.asarray(llc["component"].str.endswith(side), dtype=bool)
        yield _named(llc.assign(component=whole).loc[of_side], name, asked)
    sides = [
        _named(llc.assign(component=llc["component"].str.removesuffix(side)), name, asked)
        for side, name in _SIDES.items()
        if side
    ]
    yield _smaller(*sides)
    for method, effects in table.by(table.select(rows, quantity="ablation_effect"), "method"):
        yield _named(effects, str(method), asked)
    for quantity in _OTHERS:
        these = table.select(rows, quantity=quantity)
        told = np.asarray(these["n_beta"].isna(), dtype=bool) | at[rows.index.get_indexer(these.index)]
        for method, part in table.by(these.loc[told], "method"):
            yield _named(part, f"{quantity} ({method})" if method else quantity, asked)


def _named(rows: pd.DataFrame, name: str, asked: set[str]) -> pd.DataFrame:
    """Returns the rows of the components that were asked for as those of one score, with the most examples each."""
    own = rows.loc[np.asarray(rows["component"].isin(asked), dtype=bool)]
    return table.most_examples(own, ["component"]).assign(score=name)[_COLUMNS]


def _smaller(made: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """Returns for every component the smaller of both sides, with the reasons against either."""
    both = made.merge(read, on="component", suffixes=("", "_read"))
    less = np.asarray(both["value_read"] < both["value"], dtype=bool)
    status = [
        statuses.join(reason.name for one in pair for reason in statuses.split(one))
        for pair in zip(both["status"], both["status_read"], strict=True)
    ]
    return both.assign(
        score=SMALLER,
        value=both["value"].where(~less, both["value_read"]),
        stderr=both["stderr"].where(~less, both["stderr_read"]),
        status=status,
    )[_COLUMNS]


@dataclass(frozen=True)
class Found:
    """How well one score finds the components that matter."""

    score: str
    auroc: float
    """Probability that one that matters scores above one that does not."""
    low: float
    high: float
    """Of the AUROC: ends of the interval over resamples of both groups."""
    precision: float
    """Average precision."""
    components: int
    ok: int
    """How many of the values have status ok; all finite ones count."""


def found_by(
    scored: pd.DataFrame, truth: Mapping[str, bool], *, level: float = table.LEVEL, seed: int = 0
) -> list[Found]:
    """Returns how well every score finds what matters, the best first.

    Values count by their size: an effect of either sign is one. All finite values count, whatever their status, so
    that no score gains by what it could not measure. The interval is the bootstrap's, resampling the components that
    matter and those that do not apart; with two of a kind it is wide, and over seeds the spread of the AUROC itself
    says more.

    Args:
        scored: What :func:`scores` returns.
        truth: Whether a component matters, by its address; others are passed over.
        level: Probability of the interval.
        seed: Of the resamples.

    Raises:
        DataError: If the truth has no component that matters, or none that does not.
    """
    if all(truth.values()) or not any(truth.values()):
        raise DataError(
            f"{sum(truth.values())} of {len(truth)} components are known to matter; to tell them apart takes some that "
            "do and some that do not."
        )
    told = [_found(name, rows, truth, level, seed) for name, rows in table.by(scored, "score")]
    return sorted((one for one in told if one is not None), key=lambda one: -one.auroc)


def _found(name: str, rows: pd.DataFrame, truth: Mapping[str, bool], level: float, seed: int) -> Found | None:
    known = np.asarray(rows["component"].isin(truth), dtype=bool) & np.isfinite(table.numbers(rows, "value"))
    some = rows.loc[known]
    values = np.abs(table.numbers(some, "value"))
    labels = np.array([truth[component] for component in table.texts(some, "component")], dtype=bool)
    if labels.all() or not labels.any():
        return None
    low, high = _interval(values[labels], values[~labels], level, seed)
    return Found(
        name,
        auroc(values.tolist(), labels.tolist()),
        low,
        high,
        average_precision(values.tolist(), labels.tolist()),
        len(labels),
        int(table.ok(some).sum()),
    )


def _interval(true: np.ndarray, false: np.ndarray, level: float, seed: int) -> Sequence[float]:
    wins = (true[:, None] > false).astype(float) + (true[:, None] == false) / 2
    draws = np.random.default_rng(seed)
    of_true, of_false = (draws.integers(0, n, (_BOOTSTRAP, n)) for n in wins.shape)
    areas = [float(wins[np.ix_(i, j)].mean()) for i, j in zip(of_true, of_false, strict=True)]
    return [float(end) for end in np.quantile(areas, [(1 - level) / 2, (1 + level) / 2])]
