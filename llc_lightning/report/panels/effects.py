"""Ablation effects over training, by method, of units and layers; and which unit matters when."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.report import palette
from llc_lightning.report.panel import Matrix, Panel
from llc_lightning.report.panels.curves import (
    FEW,
    HOLLOW,
    axis_of,
    effect_axis,
    in_panels,
    median_at_the_end,
    medians,
    named,
    of_intervals,
    short_names,
    when,
)
from llc_lightning.report.sections import PANELS, Findings, View
from llc_lightning.runtime.kinds import called, plural

_CLEAR = 5.0


def effects(found: Findings, kind: str) -> list[Panel]:
    """Returns the ablation effect of every component of a kind over training, by method."""
    rows = table.select(found.trajectories, quantity="ablation_effect", kind=kind)
    if not len(rows):
        return []
    methods = palette.ordered(table.distinct(rows, "method"))
    units = table.natural(table.distinct(rows, "component"))
    axis = axis_of(rows, units, kind)
    by_method = {method: table.select(rows, method=method) for method in methods}
    colors = {method: palette.of_method(method, methods) for method in methods}
    told = [f"{method} {end}" for method, part in by_method.items() if (end := median_at_the_end(part, 2))]
    ends = f"; {medians(rows, units)} {', '.join(told)}" if told and len(units) > FEW else ""
    return [
        Panel(
            name=f"effects-of{named(plural(kind))}{named(method)}",
            title=f"{method.capitalize() or 'Ablation'}{'-ablation' if method else ''} effects of {len(units)} "
            f"{plural(kind)} {when(rows, units)}{ends}",
            x=axis,
            y=effect_axis(rows),
            series=tuple(series),
            caption=f"{of_intervals(rows, units, kind, found.level)} {HOLLOW}",
        )
        for method, series in in_panels(by_method, units, axis, colors).items()
    ]


def roles(found: Findings) -> Matrix | None:
    """Returns each unit's share of all effects over training: who matters when."""
    method = found.curve.method if found.curve else "zero"
    rows = table.select(found.trajectories, quantity="ablation_effect", kind=found.units or "", method=method)
    steps, units = table.steps(rows), table.natural(table.distinct(rows, "component"))
    if len(steps) < 2 or len(units) < 2:
        return None
    good = rows.loc[table.ok(rows)]
    shares = np.clip(table.matrix(good, ("component", units), ("step", steps)), 0, None)
    shares[:, [not _stands_out(table.select(good, step=step)) for step in steps]] = np.nan
    if bool(np.isnan(shares).all()):
        return None
    unit, told = called(found.units or "unit"), _told(rows, units, steps, method)
    total = np.nansum(shares, axis=0)
    shares = np.divide(shares, total, out=np.full_like(shares, np.nan), where=total > 0)
    return Matrix(
        name="roles",
        title=f"Which {unit} matters when: its share of all {method}-ablation effects of the step",
        x_label="training step",
        y_label=unit,
        rows=short_names(units),
        columns=tuple(str(step) for step in steps),
        values=shares,
        unit="share of the step's total",
        hover=told,
        caption=(
            f"An even share is {1 / len(units):.3f}. Negative effects count as 0. Cells that are not ok stay empty, as "
            f"do steps where all effects together are less than {_CLEAR:g} standard errors."
        ),
    )


def _told(rows: pd.DataFrame, units: Sequence[str], steps: Sequence[int], method: str) -> tuple[tuple[str, ...], ...]:
    """Says of every unit at every step what its effect is, with its error."""
    columns = (rows[name].tolist() for name in ("component", "step", "value", "stderr", "status"))
    known = {(unit, step): f"{table.Measured(value, error)} ({status})"
             for unit, step, value, error, status in zip(*columns, strict=True)}  # fmt: skip
    return tuple(
        tuple(f"{unit}, {method}, step {step}: effect {known.get((unit, step), 'not measured')}" for step in steps)
        for unit in units
    )


def _stands_out(effects: pd.DataFrame) -> bool:
    """Says whether the sum of the effects is clear of 0; a share of noise would say nothing."""
    error = float(np.sqrt((table.numbers(effects, "stderr") ** 2).sum()))
    return float(table.numbers(effects, "value").sum()) > _CLEAR * error


@PANELS.register(
    "effects",
    summary="ablation effects over training",
    section="Ablation effects",
    place=40,
    quantities=("ablation_effect",),
)
def _drawn(view: View) -> list[Panel | Matrix | None]:
    return [*(panel for kind in view.kinds for panel in effects(view.found, kind)), roles(view.found)]
