"""The stages of a training, from its logged curves, and where its learning coefficients were sampled."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.stages import Stage, named, stages
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Panel, Series, Span, axis_in, step_axis
from llc_lightning.report.sections import PANELS, View
from llc_lightning.results.quantities import unit_of

_LOSSES = {"train/loss": ("training batches", palette.CONTROL), "val/loss": ("validation", palette.LOSS)}
_SHADES = ("#eef1f5", "#dfe5ec")
_APART = 0.025
"""Of the span of all stages."""


@revisions.of_newest
def sampled(rows: pd.DataFrame) -> dict[int, bool]:
    """Returns the steps at which the learning coefficient of the whole model was sampled, and whether it was ok."""
    llc = table.select(rows, quantity="llc", component="", params_moved="all")
    return {int(step): bool(table.ok(part).any()) for step, part in table.by(llc, "step")}


def staged(
    metrics: Mapping[str, pd.DataFrame],
    stages: Sequence[Stage],
    marked: Mapping[int, bool],
    *,
    what: str = "LLC samples",
    unit: str = "",
) -> Panel | None:
    """Returns the logged losses over stages, with a mark at some steps; None where there are no stages.

    Args:
        metrics: The logged curves by name, with the columns ``step`` and ``value``.
        stages: In the order of their steps.
        marked: The steps to mark, such as those at which the learning coefficient was sampled, and whether it was ok.
        what: What the marks are.
        unit: What the loss is counted in; '' where that is not known.
    """
    curves = {name: metrics[name] for name in _LOSSES if name in metrics}
    if not stages or not curves:
        return None
    steps = sorted({int(step) for curve in curves.values() for step in curve["step"]} | set(marked))
    axis = step_axis(steps)
    series = [
        Series(
            *(_LOSSES[name][0], axis.place(table.numbers(curve, "step")), table.numbers(curve, "value")),
            _LOSSES[name][1],
            unit=unit,
        )
        for name, curve in curves.items()
    ]
    name, first = next(iter(curves.items()))
    if marked:
        at = np.array(sorted(marked), dtype=np.float64)
        marks = np.interp(at, table.numbers(first, "step"), table.numbers(first, "value"))
        ok = np.array([marked[step] for step in sorted(marked)])
        told = tuple(f"step {step}{'' if marked[step] else ', not ok'}" for step in sorted(marked))
        sampled_at = Series(
            *(what, axis.place(at), marks, palette.RAW), ok=ok, marker="diamond", line=False, hover=told, unit=unit
        )
        series.append(sampled_at)
    caption = f"Shaded: from one stage to the next. Marks lie on the loss of {_LOSSES[name][0]}."
    title = f"Stages: {', '.join(f'{one.name} by step {one.step}' for one in stages)}"
    return Panel(
        *("stages", title, axis, axis_in("loss", unit or unit_of("loss"), log=True), tuple(series)),
        spans=_spans(stages, axis, steps[-1]), caption=caption, wide=True,
    )  # fmt: skip


def _spans(stages: Sequence[Stage], axis: Axis, end: int) -> tuple[Span, ...]:
    """Returns a span from each stage to the next; stages too close together for two labels share one."""
    steps = np.array([*(stage.step for stage in stages), end], dtype=np.float64)
    on_paper = np.log(axis.place(steps)) if axis.log else steps
    starts: list[int] = []
    names: list[list[str]] = []
    for i, stage in enumerate(stages):
        if starts and on_paper[i] - on_paper[starts[-1]] < _APART * np.ptp(on_paper):
            names[-1].append(stage.name)
        else:
            starts.append(i)
            names.append([stage.name])
    places = axis.place([*(stages[i].step for i in starts), end]).tolist()
    labels = [", ".join(some) for some in names]
    return tuple(
        Span(left, right, label, _SHADES[i % 2])
        for i, ((left, right), label) in enumerate(zip(pairwise(places), labels, strict=True))
    )


@PANELS.register("stages", summary="the stages of a training", section="Training", place=22, quantities=())
def _drawn(view: View) -> list[Panel | None]:
    metrics = named(view.logged.metrics)
    return [staged(metrics, stages(metrics), sampled(view.found.rows), unit=view.found.loss_unit)]
