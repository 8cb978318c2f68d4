"""Quantities that no other panel is about: one figure of each over training, with its unit and its intervals."""

from collections.abc import Iterator
from math import isfinite

import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.trajectories import trajectories
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Panel, Series, step_axis
from llc_lightning.report.panels.curves import FEW, HOLLOW, median_at_the_end, of_each, over
from llc_lightning.report.sections import PANELS, Findings, View, other_quantities
from llc_lightning.results.quantities import unit_of
from llc_lightning.runtime.kinds import plural

SECTION = "Other quantities"
_CURVES = ["kind", "method", "loss", "params_moved", "n_beta", "gamma"]
_COLORS = (palette.LOSS, palette.RAW, palette.CIRCUITS, palette.SHARING, *palette.OTHERS)
_MOST = 12
"""So many groups of curves are drawn."""


def other(found: Findings, quantity: str) -> Panel | None:
    """Returns one quantity over training, of the whole network and of every component, on every loss."""
    rows = trajectories(found.rows, quantities=[quantity], losses=["*"], level=found.level)
    if not len(rows):
        return None
    axis, every = step_axis(table.steps(rows)), list(groups(rows))
    series = [one for at, (name, part) in enumerate(every[:_MOST]) for one in _curves(name, part, axis, at)]
    ends = [f"{name} {end}" for name, part in every[:FEW] if (end := median_at_the_end(part, 3))]
    left = f" {len(every) - _MOST} more curves are left to analyze.py trajectories." if len(every) > _MOST else ""
    return Panel(
        name=f"other-{quantity}",
        title=f"{quantity} over training" + (f"; at the end {', '.join(ends)}" if ends else ""),
        x=axis,
        y=Axis(f"{quantity} ({unit_of(quantity)})"),
        series=tuple(series),
        caption=f"Bands: {100 * found.level:g} % intervals; of several components the median. {HOLLOW}{left}",
    )


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
        several = len(table.distinct(part, "component")) > 1
        what = plural(kind) if several else component or "whole model"
        words = (what, method, "" if loss == "train" else loss, "" if moved in ("", "all") else moved, *rungs)
        yield ", ".join(word for word in words if word), rows.loc[part.index]


def _curves(name: str, part: pd.DataFrame, axis: Axis, at: int) -> list[Series]:
    color, marker = _COLORS[at % len(_COLORS)], palette.MARKERS[at % len(palette.MARKERS)]
    units = table.natural(table.distinct(part, "component"))
    if len(units) == 1:
        return [over(part, axis, name=name, color=color, marker=marker)]
    return of_each(part, units, axis, name=name, color=color, middle=name)


@PANELS.register("other", summary="what no other panel is about", section=SECTION, place=70, quantities=())
def _drawn(view: View) -> list[Panel | None]:
    return [other(view.found, name) for name in other_quantities(table.distinct(view.found.rows, "quantity"))]
