"""Every score of the components at one step side by side, and how well each finds the components that matter."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from llc_lightning.analysis import revisions, table
from llc_lightning.runtime import status as statuses
from llc_lightning.runtime.errors import DataError
from llc_lightning.runtime.ranking import auroc, average_precision

WHOLE, INCOMING, OUTGOING, SMALLER = "wrLLC", "wrLLC:in", "wrLLC:out", "wrLLC:min"
"""The restricted LLC of all weights of a component, of one side of it, and the smaller of both sides."""

GRADIENT, GRADIENT_IN, GRADIENT_OUT = "grad_norm", "grad_norm:in", "grad_norm:out"
"""The norm of the gradient of the loss in all weights of a component, and in those of one side of it."""

LLC, EFFECT, SLOPE, SIZE = "llc", "effect", "slope", "size"
"""What a score is of: the loss around the weights, as chains or a re-optimisation see it; the loss at the trained
weights under an ablation; its gradient there; the weights alone."""

_SIDES = ("incoming", "outgoing")
"""The kinds of the sides."""
_OTHERS = {
    "weight_norm": SIZE,
    "attribution": EFFECT,
    "response": LLC,
    **dict.fromkeys(("llc_ablated", "llc_shift", "llc_unrecovered", "llc_complement", "recovery_gap"), LLC),
    **dict.fromkeys(("posterior_effect", "ablated_covariance"), LLC),
}
_SCORE = {
    **{"component": object, "score": object, "view": object, "value": float, "stderr": float, "status": object},
    **{"n_beta": float, "gamma": float},
}
_SIGNED = (WHOLE, INCOMING, OUTGOING, SMALLER, "response")
"""Scores below 0 of which are none, by the noise of chains."""
_BOOTSTRAP = 1000
_ORDERS = 10000


@revisions.of_newest
def scores(rows: pd.DataFrame, *, step: int, n_beta: float, gamma: float, kind: str | None = None) -> pd.DataFrame:
    """Returns one row for each component and score: ``view``, ``value``, ``stderr``, ``status``, ``n_beta``, ``gamma``.

    ``wrLLC`` is the restricted LLC of a component; ``wrLLC:in`` that of the weights that make it, ``wrLLC:out`` of
    those that read it (components ``ADDRESS:in`` and ``ADDRESS:out``). What nobody reads is free on the first, what
    never fires on the second, so ``wrLLC:min``, the smaller, is 0 for both; its status has the reasons of both
    sides, and it has no value where one of them has none. Ablation effects on the training loss are named by their
    method, all else by its quantity, with the method behind it where it has one. ``weight_norm`` and ``grad_norm``,
    the latter of the sides as well, cost no chains, so that a wrLLC must say more than they do. What was measured at
    one other resolution alone is taken from there, as ``n_beta`` and ``gamma`` say. Of values that rest on different
    numbers of examples that with the most counts. ``view`` is what a score is of: ``llc``, ``effect``, ``slope`` or
    ``size``.

    Args:
        rows: The measurement table.
        step: Training step.
        n_beta: Of the scores that come from chains.
        gamma: Of these as well.
        kind: Kind of component; None takes the smallest units measured.

    Raises:
        DataError: If a component has one score under several settings, so that it is not known which is meant.
    """
    here = table.first_replicate(table.select(rows, step=step, loss="train"))
    kind = kind or table.unit_kind(here) or ""
    named = table.components(here, kind)
    here = table.select(here, kind=(kind, *_SIDES))
    asked = {name.removesuffix(":in").removesuffix(":out") for name in named}
    found = [one for one in _by_score(here, asked, n_beta, gamma) if len(one)]
    together = pd.concat(found) if found else pd.DataFrame({name: pd.Series(dtype=of) for name, of in _SCORE.items()})
    return together.reset_index(drop=True)


def _by_score(rows: pd.DataFrame, asked: set[str], n_beta: float, gamma: float) -> Iterator[pd.DataFrame]:
    llc = table.select(rows, quantity="llc", n_beta=n_beta, gamma=gamma)
    llc = llc.loc[np.asarray(llc["params_moved"] == llc["component"], dtype=bool)]
    yield _named(llc, WHOLE, LLC, asked)
    sides = ((":in", INCOMING), (":out", OUTGOING))
    made, read = (_named(_of_side(llc, side), name, LLC, asked) for side, name in sides)
    yield from (made, read, _smaller(made, read))
    for method, effects in table.by(table.select(rows, quantity="ablation_effect"), "method"):
        yield _named(effects, str(method), EFFECT, asked)
    gradient = table.select(rows, quantity="grad_norm")
    yield _named(gradient, GRADIENT, SLOPE, asked)
    for side, name in ((":in", GRADIENT_IN), (":out", GRADIENT_OUT)):
        yield _named(_of_side(gradient, side), name, SLOPE, asked)
    for quantity, view in _OTHERS.items():
        for method, part in table.by(_at(table.select(rows, quantity=quantity), n_beta, gamma), "method"):
            yield _named(part, f"{quantity} ({method})" if method else quantity, view, asked)


def _at(rows: pd.DataFrame, n_beta: float, gamma: float) -> pd.DataFrame:
    """Returns the rows at a resolution or of none, else those at the one that there is."""
    free = np.asarray(rows["n_beta"].isna(), dtype=bool)
    here = rows.loc[free | np.asarray((rows["n_beta"] == n_beta) & (rows["gamma"] == gamma), dtype=bool)]
    others = rows.loc[~free, ["n_beta", "gamma"]].drop_duplicates()
    return here if len(here) or len(others) != 1 else rows


def _of_side(rows: pd.DataFrame, side: str) -> pd.DataFrame:
    """Returns the rows of one side under the address of the whole."""
    these = rows.loc[np.asarray(rows["component"].str.endswith(side), dtype=bool)]
    return these.assign(component=these["component"].str.removesuffix(side))


def _named(rows: pd.DataFrame, name: str, view: str, asked: set[str]) -> pd.DataFrame:
    """Returns the rows of the components that were asked for as those of one score, with the most examples each."""
    own = rows.loc[np.asarray(rows["component"].isin(asked), dtype=bool)]
    most = own.loc[np.asarray(own["n_examples"] == own.groupby("component")["n_examples"].transform("max"), dtype=bool)]
    several = most.loc[np.asarray(most.duplicated("component"), dtype=bool), "component"]
    if len(several):
        raise DataError(
            f"{name} of {several.iloc[0]!r} was measured under several settings at this step; leave only the rows of "
            "one, by the column settings."
        )
    return most.assign(score=name, view=view)[list(_SCORE)]


def _smaller(made: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """Returns for every component the smaller of both sides, with the reasons against either."""
    both = made.merge(read, on="component", suffixes=("", "_read"))
    values, errors = ([table.numbers(both, f"{what}{of}") for of in ("", "_read")] for what in ("value", "stderr"))
    least = np.minimum(*values)  # NaN where one of them is
    status = [
        statuses.join(reason.name for one in pair for reason in statuses.split(one))
        for pair in zip(both["status"], both["status_read"], strict=True)
    ]
    error = np.where(np.isnan(least), np.nan, np.where(values[1] < values[0], errors[1], errors[0]))
    return both.assign(score=SMALLER, value=least, stderr=error, status=status)[list(_SCORE)]


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
    """How many of the values have status ok; all of them count."""
    true: int
    """How many of the components matter."""
    measured: int
    """Of how many components the score was asked for."""


def found_by(
    scored: pd.DataFrame, truth: Mapping[str, bool], *, level: float = table.LEVEL, seed: int = 0
) -> list[Found]:
    """Returns how well every score finds what matters, the best first.

    Effects and shifts count by their size, whatever their sign; a restricted LLC below 0 is none. All values count,
    whatever their status, and one that is missing, of a component that another score has, counts against the score:
    as the least of those that matter, as the most of the others. The interval is the bootstrap's, resampling the
    components that matter and those that do not apart; with two of a kind it is wide, and over seeds the spread of the
    AUROC itself says more.

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
    asked = [component for component in table.natural(table.distinct(scored, "component")) if component in truth]
    told = [
        _found(str(name), rows.set_index("component").reindex(asked).reset_index(), truth, level, seed)
        for name, rows in table.by(scored, "score")
    ]
    return sorted((one for one in told if one is not None), key=lambda one: -one.auroc)


def _found(name: str, rows: pd.DataFrame, truth: Mapping[str, bool], level: float, seed: int) -> Found | None:
    values = table.numbers(rows, "value")
    labels = np.array([truth[component] for component in table.texts(rows, "component")], dtype=bool)
    if labels.all() or not labels.any():
        return None
    missing = np.isnan(values)
    values = np.where(missing, np.where(labels, -np.inf, np.inf), values if name in _SIGNED else np.abs(values))
    low, high = _interval(values[labels], values[~labels], level, seed)
    return Found(
        name,
        auroc(values.tolist(), labels.tolist()),
        low,
        high,
        average_precision(values.tolist(), labels.tolist()),
        len(labels),
        int(table.ok(rows).sum()),
        int(labels.sum()),
        int(rows["status"].notna().sum()),
    )


def at_random(found: Sequence[Found], *, seed: int = 0) -> Float[np.ndarray, "draw"]:
    """Returns what orders at random reach: the mean AUROC over runs with as many components, of which as many matter.

    Args:
        found: What one score found, of every run.
        seed: Of the orders.
    """
    draws = np.random.default_rng(seed)
    areas: list[Float[np.ndarray, "draw"]] = []
    for one in found:
        ranks = draws.permuted(np.tile(np.arange(1, one.components + 1), (_ORDERS, 1)), axis=1)[:, : one.true].sum(1)
        areas.append((ranks - one.true * (one.true + 1) / 2) / (one.true * (one.components - one.true)))
    return np.mean(areas, axis=0)


def _interval(true: np.ndarray, false: np.ndarray, level: float, seed: int) -> Sequence[float]:
    wins = (true[:, None] > false).astype(float) + (true[:, None] == false) / 2
    draws = np.random.default_rng(seed)
    of_true, of_false = (draws.integers(0, n, (_BOOTSTRAP, n)) for n in wins.shape)
    areas = [float(wins[np.ix_(i, j)].mean()) for i, j in zip(of_true, of_false, strict=True)]
    return [float(end) for end in np.quantile(areas, [(1 - level) / 2, (1 + level) / 2])]
