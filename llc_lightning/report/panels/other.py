"""Quantities that no other panel is about: one figure of each over training, with its unit and its intervals."""

from collections.abc import Iterator
from math import isfinite

import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.trajectories import trajectories
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Panel, Series, axis_in, step_axis
from llc_lightning.report.panels.curves import (
    CROWD,
    FEW,
    HOLLOW,
    bundle,
    median,
    median_at_the_end,
    named,
    over,
    short_names,
    unit_of_rows,
)
from llc_lightning.report.sections import PANELS, Findings, View, other_quantities
from llc_lightning.runtime.kinds import plural

SECTION = "Other quantities"
_CURVES = ["kind", "method", "loss", "params_moved", "n_beta", "gamma"]
_COLORS = (palette.LOSS, palette.RAW, palette.CIRCUITS, palette.SHARING, *palette.OTHERS)
_MEDIAN = "median of "
_MOST = 12
"""So many groups of curves are drawn."""


def other(found: Findings, quantity: str) -> list[Panel]:
    """Returns one quantity over training, of the whole network and of every component, on every loss.

    What would crowd one figure has a figure for each method.
    """
    rows = trajectories(found.rows, quantities=[quantity], losses=["*"], level=found.level)
    parts = {"": rows}
    if len(rows[["component", *_CURVES]].drop_duplicates()) > CROWD and rows["method"].nunique() > 1:
        parts = {named(str(name)): part for name, part in rows.groupby("method", sort=False)}
    every = [(f"{mark}{at or ''}", here) for mark, part in parts.items() for at, here in enumerate(_by_unit(part))]
    return [_panel(found, quantity, mark, part) for mark, part in every]


def _by_unit(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Returns rows by their units: two never share an axis."""
    return [part for _, part in rows.groupby("unit", sort=False)]


def _panel(found: Findings, quantity: str, mark: str, rows: pd.DataFrame) -> Panel:
    axis, every = step_axis(table.steps(rows)), list(groups(rows))
    series: list[Series] = []
    for name, part in every[:_MOST]:
        series += _curves(name, part, axis, len(series))
    ends = [f"{name} {end}" for name, part in every[:FEW] if (end := median_at_the_end(part, 3))]
    left = f" {len(every) - _MOST} more curves are left to analyze.py trajectories." if len(every) > _MOST else ""
    return Panel(
        name=f"other-{quantity}{mark}",
        title=_title(quantity, [name for name, _ in every], ends),
        x=axis,
        y=axis_in(quantity, unit_of_rows(rows, quantity)),
        series=tuple(series),
        caption=f"Bands: {100 * found.level:g} % intervals. {HOLLOW}{left}",
    )


def _title(quantity: str, names: list[str], ends: list[str]) -> str:
    """Says what is shown, and where it ends.

    Example:
        >>> _title("attention_score", ["median of 4 heads, induction"], ["median of 4 heads, induction 0.5"])
        'attention_score, induction, of 4 heads over training; median at the end 0.5'
    """
    if len(names) == 1 and ends and names[0].startswith(_MEDIAN):
        of, _, words = names[0].removeprefix(_MEDIAN).partition(", ")
        what = f"{quantity}, {words}," if words else quantity
        return f"{what} of {of} over training; median at the end {ends[0].removeprefix(f'{names[0]} ')}"
    return f"{quantity} over training" + (f"; at the end {', '.join(ends)}" if ends else "")


def groups(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields trajectory rows of one quantity that differ in component and step alone, each with a name.

    Where weights of components were moved, as for the wrLLC, each component's own count as one group.
    """
    own = rows["params_moved"].where(rows["params_moved"] != rows["component"], "")
    by = rows.assign(params_moved=own).groupby(_CURVES, sort=False, dropna=False)
    for _, part in by:
        first = part.iloc[:1]
        kind, component, method, loss, moved = (
            table.texts(first, name)[0] for name in ("kind", "component", "method", "loss", "params_moved")
        )
        numbers = {name: float(table.numbers(first, name)[0]) for name in ("n_beta", "gamma")}
        rungs = [f"{name} {value:g}" for name, value in numbers.items() if isfinite(value)]
        units = table.distinct(part, "component")
        what = f"{_MEDIAN}{len(units)} {plural(kind)}" if len(units) > 1 else component or "whole model"
        words = (what, method, "" if loss == "train" else loss, "" if moved in ("", "all") else moved, *rungs)
        yield ", ".join(word for word in words if word), rows.loc[part.index]


def _curves(name: str, part: pd.DataFrame, axis: Axis, at: int) -> list[Series]:
    units = table.natural(table.distinct(part, "component"))
    if len(units) > FEW:
        color = _COLORS[at % len(_COLORS)]
        return [bundle(part, axis, color=color, group=name), median(part, axis, name=name, color=color)]
    # The name of a group of several begins with what its median is of.
    names = [", ".join([unit, *name.split(", ")[1:]]) for unit in short_names(units)] if len(units) > 1 else [name]
    return [
        over(
            table.select(part, component=unit), axis, name=each, color=_COLORS[(at + i) % len(_COLORS)],
            marker=palette.MARKERS[(at + i) % len(palette.MARKERS)],
        )
        for i, (each, unit) in enumerate(zip(names, units, strict=True))
    ]  # fmt: skip


@PANELS.register("other", summary="what no other panel is about", section=SECTION, place=70, quantities=())
def _drawn(view: View) -> list[Panel]:
    names = other_quantities(table.distinct(view.found.rows, "quantity"))
    return [panel for name in names for panel in other(view.found, name)]
