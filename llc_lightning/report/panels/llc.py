"""Learning coefficients over training: of the whole model, raw and corrected, and of its layers and units."""

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Panel, Rule, step_axis
from llc_lightning.report.panels.curves import (
    FEW,
    HOLLOW,
    axis_of,
    half_dimension,
    in_panels,
    median_at_the_end,
    medians,
    named,
    of_intervals,
    over,
    when,
)
from llc_lightning.report.sections import PANELS, Findings, View
from llc_lightning.runtime import status as statuses
from llc_lightning.runtime.kinds import called, plural

_NEAR_SATURATION = 0.6
_HIGHER = 4.0


def full_llc(found: Findings) -> list[Panel]:
    """Returns the LLC of the whole model, raw and with Delta, one panel for each (n_beta, gamma)."""
    whole = table.select(found.trajectories, component="", params_moved="all")
    raw = table.select(whole, quantity="llc")
    axis = step_axis(table.steps(raw))
    panels: list[Panel] = []
    resolutions = table.by(table.select(whole, quantity=("llc", "llc_plus_delta")), "n_beta", "gamma")
    for (n_beta, gamma), here in resolutions:
        plain, corrected = (table.select(here, quantity=name) for name in ("llc", "llc_plus_delta"))
        lines = (
            over(plain, axis, name="raw", color=palette.RAW, marker="circle"),
            over(corrected, axis, name="raw + Delta", color=palette.CORRECTED, marker="square", dash="dash"),
        )
        panels.append(
            Panel(
                name=f"full-llc-{n_beta:.0f}-{gamma:.0f}",
                title=_story(plain, corrected, where=f" at n_beta {n_beta:g}" if len(resolutions) > 1 else ""),
                x=axis,
                y=Axis(f"full LLC at n_beta {n_beta:g}, gamma {gamma:g}", limits=_frame(here)),
                series=lines if len(corrected) else lines[:1],
                rules=(Rule(0.0, ""),),
                caption=(
                    f"Bands: {100 * found.level:g} % of the sampling error. Delta is what not being at a minimum takes "
                    "off the LLC, to second order. Hollow points are not ok: they enter no number, and no axis limit "
                    "before the first that is ok."
                ),
            )
        )
    return panels


def restricted_llc(found: Findings, kind: str) -> list[Panel]:
    """Returns wrLLC of every component of a kind over training, at every n_beta of the ladder."""
    llc = table.select(found.trajectories, quantity="llc", kind=kind)
    llc = llc.loc[np.asarray(llc["component"] == llc["params_moved"], dtype=bool)]
    if not len(llc):
        return []
    gammas = table.numbers(llc, "gamma")
    gamma = found.curve.gamma if found.curve and found.curve.gamma in gammas else float(gammas.max())
    llc = table.select(llc, gamma=gamma)
    ladder = sorted(set(table.numbers(llc, "n_beta").tolist()))
    units = table.natural(table.distinct(llc, "component"))
    axis = axis_of(llc, units, kind)
    rungs = {f"n_beta {n_beta:g}": part for n_beta, part in table.by(llc, "n_beta")}
    colors = {f"n_beta {n_beta:g}": palette.of_rung(n_beta, ladder) for n_beta in ladder}
    half = half_dimension(found.rows, kind)
    good = llc.loc[table.ok(llc)]
    near = half is not None and len(good) and table.numbers(good, "value").max() > _NEAR_SATURATION * half
    at_the_end = _ends(llc, units, ladder) if len(units) > FEW else ""
    return [
        Panel(
            name=f"llc-of{named(plural(kind))}{named(rung)}",
            title=f"wrLLC of {len(units)} {plural(kind)}{f' at {rung}' if rung else ''} {when(llc, units)}{at_the_end}",
            x=axis,
            y=Axis(f"wrLLC of one {called(kind)}, gamma {gamma:g}"),
            series=tuple(series),
            rules=(Rule(half, f"half the weights: {half:g}"),) if near and half is not None else (),
            caption=f"{of_intervals(llc, units, kind, found.level)} {HOLLOW}",
        )
        for rung, series in in_panels(rungs, units, axis, colors).items()
    ]


def _ends(llc: pd.DataFrame, units: list[str], ladder: list[float]) -> str:
    parts = [(n_beta, median_at_the_end(table.select(llc, n_beta=n_beta), 3)) for n_beta in ladder]
    told = [f"{end} at n_beta {n_beta:g}" for n_beta, end in parts if end]
    return f"; {medians(llc, units)} {', '.join(told)}" if told else ""


def _frame(rows: pd.DataFrame) -> tuple[float, float] | None:
    """Returns limits from the ok values with room above, from where the corrected value comes down at first.

    Flagged values count where they are later than an ok one, up to so many times as high: they are no start from far
    off the minimum, and a curve that leaves the figure says nothing.
    """
    good = rows.loc[table.ok(rows)]
    if not len(good):
        return None
    top = float(np.nanmax([*table.numbers(good, "value"), *table.numbers(good, "high")]))
    low = float(min(0.0, *table.numbers(good, "value")))
    later = table.numbers(rows.loc[np.greater(table.numbers(rows, "step"), table.steps(good)[0])], "value")
    highest = float(np.max(later[np.isfinite(later)], initial=top))
    top = max(top, min(highest, low + _HIGHER * (top - low)))
    return low - 0.08 * (top - low), low + 1.35 * (top - low)


def _story(raw: pd.DataFrame, corrected: pd.DataFrame, *, where: str) -> str:
    """Says what the LLC ends at, and how much of its rise is only the missing minimum."""
    good = raw.loc[table.ok(raw)]
    if not len(good):
        return f"The full LLC{where} is not ok at any step"
    told = f"The full LLC{where} is {table.measured(good)} at step {table.steps(good)[-1]}"
    both = corrected.loc[
        np.isfinite(table.numbers(corrected, "value")) & np.greater(table.numbers(corrected, "step"), 0)
    ]
    if len(both) < 2:
        return told
    first, last = table.steps(both)[0], table.steps(both)[-1]
    ends = {
        name: [float(table.numbers(table.select(rows, step=step), "value")[0]) for step in (first, last)]
        for name, rows in (("raw", raw), ("with Delta", both))
    }
    moves = ", ".join(f"{name} {start:.0f} → {end:.0f}" for name, (start, end) in ends.items())
    doubts = [f"step {step}: {against}" for step in (first, last) if (against := _against(raw, corrected, step))]
    flagged = f" (flagged at {'; '.join(doubts)})" if doubts else ""
    return f"{told}. From step {first}: {moves}{flagged}"


def _against(raw: pd.DataFrame, corrected: pd.DataFrame, step: int) -> str:
    """Returns the reasons against the values of a step; '' for none."""
    found = {name for rows in (raw, corrected) for name in table.texts(table.select(rows, step=step), "status")}
    return ", ".join(
        reason.name for reason in statuses.in_order(one.name for name in found for one in statuses.split(name))
    )


@PANELS.register(
    "llc",
    summary="learning coefficients over training",
    section="Learning coefficients",
    place=30,
    quantities=("llc", "llc_plus_delta", "llc_correction", "llc_recorded", "llc_slope"),
)
def _drawn(view: View) -> list[Panel]:
    return [*full_llc(view.found), *(one for kind in view.kinds for one in restricted_llc(view.found, kind))]
