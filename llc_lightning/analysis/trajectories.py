"""Every quantity over training as one tidy table with error bands."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.runtime import status as statuses
from llc_lightning.runtime.errors import SettingError, unknown

COLUMNS = (
    "quantity",
    "component",
    "kind",
    "method",
    "loss",
    "params_moved",
    "n_beta",
    "gamma",
    "step",
    "epoch",
    "value",
    "unit",
    "stderr",
    "low",
    "high",
    "status",
    "n_examples",
    "weights",
    "revision",
)
CURVE = [
    *("quantity", "component", "kind", "method", "loss", "params_moved", "n_beta", "gamma", "weights", "revision"),
    "step",
]
"""The columns that tell curves apart, and the step."""


def trajectories(
    rows: pd.DataFrame,
    *,
    quantities: Sequence[str] | None = None,
    component: str = "*",
    methods: Sequence[str] | None = None,
    losses: Sequence[str] | None = None,
    level: float = table.LEVEL,
) -> pd.DataFrame:
    """Returns the values of chosen quantities over the steps, each with the interval ``low`` to ``high``.

    Rows of all revisions of a measurement are there, told apart by the column ``revision``, and those of averaged
    weights, told apart by ``weights``; figures and tables show the newest, of the weights that were trained
    (:func:`~llc_lightning.analysis.revisions.newest`). Replicates are left out. Errors along a trajectory are
    correlated, since every step uses the same random streams: a difference of two steps is known better than the two
    intervals suggest. ``quantity`` ``llc_plus_delta`` is added wherever an LLC has its correction for not being at a
    minimum.

    Args:
        rows: The measurement table.
        quantities: Names or globs to keep; None keeps all.
        component: Glob over addresses; ``*`` keeps all, an empty string only the full model.
        methods: Ablation methods to keep; None keeps all.
        losses: Losses to keep: ``train``, ``circuit:07``, or globs such as ``circuit:*``; None keeps the training loss.
        level: Probability of the intervals.

    Returns:
        A table with the columns ``COLUMNS``, sorted by curve and step.

    Raises:
        SettingError: If a quantity, component, method or loss is not in the table; the message names the nearest.
    """
    every = [rows, plus_delta(rows)] if len(rows) else [rows]
    kept_losses = {"train"} & table.distinct(rows, "loss") if losses is None else losses
    wanted = {"loss": kept_losses, "component": [component], "quantity": quantities, "method": methods}
    chosen = {column: _chosen(every, column, names) for column, names in wanted.items() if names is not None}
    kept = pd.concat([table.first_replicate(table.select(some, **chosen)) for some in every], ignore_index=True)
    half = table.half_width(table.numbers(kept, "stderr"), table.numbers(kept, "chains"), level)
    values = table.numbers(kept, "value")
    banded = kept.assign(low=values - half, high=values + half)
    return banded[list(COLUMNS)].sort_values(CURVE, kind="stable", ignore_index=True, key=_natural)


def plus_delta(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns rows ``llc_plus_delta``: the LLC plus Delta, its correction to second order for weights at no minimum.

    Delta is deterministic given the data, so its own stderr is added in quadrature only where it has one; the status
    joins the reasons of both.
    """
    correction = table.select(rows, quantity="llc_correction")
    raw = table.first_replicate(table.select(rows, quantity="llc"))
    on = ["step", "component", "params_moved", "loss", "method", "n_beta", "gamma", "weights", "revision"]
    if not len(raw) or not len(correction):
        return rows.iloc[:0]
    pairs = table.matched(raw, table.first_replicate(correction), on, ("raw", "delta"))
    spread = np.hypot(table.numbers(pairs, "raw_stderr"), np.nan_to_num(table.numbers(pairs, "delta_stderr")))
    both = list(map(_joined, table.texts(pairs, "raw_status"), table.texts(pairs, "delta_status")))
    total = table.numbers(pairs, "raw") + table.numbers(pairs, "delta")
    summed = pairs.assign(quantity="llc_plus_delta", value=total, stderr=spread, status=both)
    return summed[list(rows.columns)]


@cache
def _joined(one: str, two: str) -> str:
    return statuses.join(reason.name for reason in (*statuses.split(one), *statuses.split(two)))


def _natural(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Returns the keys to sort a column by: addresses in the order of their numbers."""
    if column.name != "component":
        return column
    place = {name: at for at, name in enumerate(table.natural(set(map(str, column.unique().tolist()))))}
    return column.map(place)


def _chosen(tables: Sequence[pd.DataFrame], column: str, patterns: Collection[str]) -> set[str]:
    """Returns the values of a column that patterns name."""
    present = {name for rows in tables for name in table.distinct(rows, column)}
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in present if name == pattern or fnmatchcase(name, pattern.replace("[", "[[]"))}
        if not found and present:
            raise SettingError(unknown(column, pattern, present - {""}))
        chosen |= found
    return chosen
