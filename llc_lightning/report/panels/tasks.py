"""Two tasks in one net: how well it does each, and which units serve which."""

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.selectivity import CLEAR, SELECTIVE, groups
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Panel, Rule, Series, axis_in, step_axis
from llc_lightning.report.panels.curves import plain_over, unit_of_rows
from llc_lightning.report.sections import PANELS, Findings, View
from llc_lightning.runtime.kinds import at_level

_COLORS = (palette.CIRCUITS, palette.SHARING, *palette.OTHERS)


def task_accuracy(found: Findings) -> Panel | None:
    """Returns the accuracy on each task over training, on the analysis set."""
    rows = table.select(found.rows, quantity="accuracy", component="", method="")
    rows = rows.loc[table.ok(rows) & np.asarray(rows["loss"].str.startswith("task:"), dtype=bool)]
    if not len(rows):
        return None
    axis = step_axis(table.steps(rows))
    tasks = sorted(table.distinct(rows, "loss"), reverse=True)
    best = table.most_examples(rows, ["step", "loss"]).sort_values("step")
    curves = {task_name(task): table.select(best, loss=task) for task in tasks}
    ends = ", ".join(f"{name} {table.numbers(part, 'value')[-1]:.3f}" for name, part in curves.items())
    return Panel(
        name="task-accuracy",
        title=f"Accuracy on each task ends at: {ends}",
        x=axis,
        y=Axis("accuracy on the analysis set"),
        series=tuple(
            plain_over(part, axis, name=name, color=_COLORS[i % len(_COLORS)], level=found.level)
            for i, (name, part) in enumerate(curves.items())
        ),
        caption=f"Bands: {100 * found.level:g} % intervals.",
    )


def selective_share(found: Findings) -> Panel | None:
    """Returns the share of units of each layer that serve one task, over training."""
    every = [one for one in groups(found.selectivity) if one.clear]
    if not every:
        return None
    points = table.natural({one.point for one in every})
    axis = step_axis([one.step for one in every])
    series: list[Series] = []
    for i, point in enumerate(points):
        here = [one for one in every if one.point == point]
        rows = pd.DataFrame(
            {"step": [one.step for one in here], "value": [one.selective for one in here]}
            | {"stderr": [one.stderr for one in here]}
        )
        color, marker = _COLORS[i % len(_COLORS)], palette.MARKERS[i % len(palette.MARKERS)]
        series.append(plain_over(rows, axis, name=point, color=color, level=found.level, marker=marker))
    last = ", ".join(f"{one.point} {one.selective:.2f}" for one in every if one.step == every[-1].step)
    return Panel(
        name="selective-share",
        title=f"Share of units that serve one task at step {every[-1].step}: {last}",
        x=axis,
        y=Axis(f"share of units with |selectivity| above {SELECTIVE:g}", limits=(-0.03, 1.03)),
        series=tuple(series),
        caption=(
            f"Of the units whose effects together are {CLEAR:g} standard errors above 0, by {_method(found)} ablation. "
            f"Bands: {100 * found.level:g} % intervals of a share of so many units."
        ),
    )


def unit_selectivity(found: Findings) -> Panel | None:
    """Returns the selectivity of every unit against its effects at the last step."""
    units = table.select(found.selectivity, kind=at_level("units"))
    units = units.loc[np.isfinite(table.numbers(units, "value")) & np.greater(table.numbers(units, "effect"), 0)]
    if not len(units) or found.task_pair is None:
        return None
    step = table.steps(units)[-1]
    units = table.select(units, step=step)
    units = units.assign(point=[name.partition("[")[0] for name in table.texts(units, "component")])
    first, second = map(task_name, found.task_pair)
    points = table.natural(table.distinct(units, "point"))
    return Panel(
        name="unit-selectivity",
        title=f"Which unit serves which task at step {step}: {first} alone is 1, {second} alone is -1",
        x=axis_in("effects on both tasks together", _unit(found), log=True),
        y=Axis("task selectivity (a - b) / (a + b)", limits=(-1.08, 1.08)),
        series=tuple(
            _points(
                table.select(units, point=point),
                where=f"{_method(found)}, step {step}",
                color=_COLORS[i % len(_COLORS)],
                place=i,
                level=found.level,
            )
            for i, point in enumerate(points)
        ),
        rules=(Rule(SELECTIVE, ""), Rule(0.0, ""), Rule(-SELECTIVE, "")),
        caption=(
            f"a: {_method(found)}-ablation effect on {first}, b: on {second}; a negative effect counts as 0. Bars: "
            f"{100 * found.level:g} % intervals. Hollow points: both effects together are not clear of 0."
        ),
    )


def task_name(loss: str) -> str:
    """Returns a task's name without its prefix.

    Example:
        >>> task_name("task:mnist")
        'mnist'
    """
    return loss.removeprefix("task:")


def _points(units: pd.DataFrame, *, where: str, color: str, place: int, level: float) -> Series:
    value, error = table.numbers(units, "value"), table.numbers(units, "stderr")
    half = table.half_width(error, np.zeros(len(units)), level)
    columns = (table.numbers(units, name).tolist() for name in ("value", "stderr", "first", "second"))
    told = zip(table.texts(units, "component"), *columns, strict=True)
    return Series(
        name=table.texts(units, "point")[0],
        x=table.numbers(units, "effect"),
        y=value,
        low=np.clip(value - half, -1, 1),
        high=np.clip(value + half, -1, 1),
        ok=np.asarray(units["clear"], dtype=bool),
        color=color,
        line=False,
        marker=palette.MARKERS[place % len(palette.MARKERS)],
        hover=tuple(
            f"{unit}, {where}: selectivity {table.Measured(one, wrong)}, effects {first:.3g} and {second:.3g}"
            for unit, one, wrong, first, second in told
        ),
    )


def _unit(found: Findings) -> str:
    effects = table.select(found.rows, quantity="ablation_effect", loss=found.task_pair or ())
    return unit_of_rows(effects, "ablation_effect")


def _method(found: Findings) -> str:
    return table.texts(found.selectivity, "method")[0]


@PANELS.register(
    "tasks",
    summary="two tasks in one net",
    section="Tasks",
    place=50,
    quantities=("accuracy", "ablation_effect"),
)
def _drawn(view: View) -> list[Panel | None]:
    return [task_accuracy(view.found), selective_share(view.found), unit_selectivity(view.found)]
