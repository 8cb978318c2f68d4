"""Trajectories in a few lines: where each curve starts and ends."""

import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.report.cells import NONE, Table

_CURVE = ["quantity", "component", "kind", "method", "loss", "params_moved", "n_beta", "gamma", "revision"]
MOST = 40


def overview_table(curves: pd.DataFrame) -> Table:
    """Returns one line for each curve of :func:`llc_lightning.analysis.trajectories.trajectories`, up to ``MOST``."""
    several = len(table.distinct(curves, "revision")) > 1
    rows: list[tuple[str, ...]] = []
    groups = curves.groupby(_CURVE, sort=False, dropna=False)
    for _, curve in list(groups)[:MOST]:
        good = curve.loc[table.ok(curve)]
        first, last = curve.iloc[:1], curve.iloc[-1:]
        rungs = (f"{value:g}" if value == value else "" for value in _firsts(first, "n_beta", "gamma"))
        rows.append(
            (
                *(table.texts(first, name)[0] for name in ("quantity", "component", "method", "loss")),
                *rungs,
                *(f"{_value(end)} @ {table.steps(end)[0]}" for end in (first, last)),
                f"{len(good)} of {len(curve)}",
                *(table.texts(first, "revision") if several else ()),
            )
        )
    columns = ("quantity", "component", "method", "loss", "n_beta", "gamma", "first @ step", "last @ step", "ok")
    columns += ("revision",) if several else ()
    more = groups.ngroups - len(rows)
    note = (
        f"{more} more curves: narrow with --component or --quantities, or write all with --out FILE.csv" if more else ""
    )
    return Table("trajectories", f"{groups.ngroups} curves", columns, tuple(rows), note)


def _firsts(row: pd.DataFrame, *columns: str) -> list[float]:
    return [float(table.numbers(row, column)[0]) for column in columns]


def _value(row: pd.DataFrame) -> str:
    value = table.measured(row)
    return str(value) if value.value == value.value else NONE
