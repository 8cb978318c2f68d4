"""Circuits of a CIS net: how many are solved, how well, and which neuron works for which."""

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.cis import EffectMatrix
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Matrix, Panel, Rule, step_axis
from llc_lightning.report.panels.curves import plain_over, short_names
from llc_lightning.report.sections import PANELS, Findings, View
from llc_lightning.runtime.kinds import called

_FALL = 0.01
"""An accuracy that ends this much below its peak has fallen."""


def circuits(found: Findings, *, control: Findings | None = None) -> Panel | None:
    """Returns circuits solved, and how many each neuron takes part in, over training."""
    verdict = found.verdict
    if verdict is None:
        return None
    axis = step_axis(table.steps(found.over_training))
    shown = [
        (found, "circuits_solved", "circuits solved", palette.CIRCUITS, "circle"),
        (found, "circuits_per_unit", "circuits per neuron", palette.SHARING, "diamond"),
        (control, "circuits_solved", f"circuits solved, {control.run if control else ''}", palette.CONTROL, "circle"),
    ]
    series = [
        plain_over(part, axis, name=name, color=color, level=found.level, marker=marker)
        for one, quantity, name, color, marker in shown
        if one and len(part := table.select(one.over_training, quantity=quantity))
    ]
    share = table.select(found.over_training, quantity="circuits_per_unit")
    thinned = ""
    if len(share):
        values = table.numbers(share, "value")
        top = int(values.argmax())
        peak = f"{values[top]:.1f} at step {table.texts(share, 'step')[top]}"
        thinned = f"; a neuron works for {peak}, {values[-1]:.1f} at the end"
    return Panel(
        name="circuits",
        title=f"{verdict.circuits_solved.value:g} of {verdict.circuits} circuits are solved{thinned}",
        x=axis,
        y=Axis("circuits", limits=(-0.03 * verdict.circuits, 1.06 * verdict.circuits)),
        series=tuple(series),
        rules=(Rule(verdict.circuits_dedicated, f"without sharing neurons: {verdict.circuits_dedicated:g}"),),
        caption=(
            f"Circuits per neuron: participation ratio of its {verdict.matrix_method}-ablation effects, mean over all "
            f"neurons. Bands: {100 * found.level:g} % intervals."
        ),
    )


def accuracy(found: Findings, *, control: Findings | None = None) -> Panel | None:
    """Returns the mean accuracy over circuits during training."""
    mine = table.select(found.over_training, quantity="accuracy")
    if not len(mine):
        return None
    axis = step_axis(table.steps(mine))
    shown = [
        (one, part, color)
        for one, color in ((found, palette.CIRCUITS), (control, palette.CONTROL))
        if one and len(part := table.select(one.over_training, quantity="accuracy"))
    ]
    return Panel(
        name="accuracy",
        title=f"Mean accuracy over circuits: {'; '.join(_told(one.run, part) for one, part, _ in shown)}",
        x=axis,
        y=Axis("mean accuracy over circuits"),
        series=tuple(
            plain_over(part, axis, name=one.run, color=color, level=found.level) for one, part, color in shown
        ),
        caption=f"Bands: {100 * found.level:g} % intervals.",
    )


def sharing(found: Findings) -> Matrix | None:
    """Returns which neuron matters to which circuit at the last step."""
    matrix = found.matrix
    if matrix is None or found.verdict is None or found.verdict.circuits_per_unit is None:
        return None
    return Matrix(
        name="sharing",
        title=f"Who works for whom: {found.verdict.circuits_per_unit} circuits per neuron at step {matrix.step}",
        x_label="circuit",
        y_label=called(found.units or "unit"),
        rows=short_names(matrix.units),
        columns=tuple(_number(circuit) for circuit in matrix.circuits),
        values=np.clip(matrix.effects, 0, None),
        unit=f"{matrix.method}-ablation effect ({matrix.unit})",
        hover=_cells_of(matrix),
        caption="Rise of a circuit's loss on the examples where it is active; negative effects are drawn as 0.",
    )


def _cells_of(matrix: EffectMatrix) -> tuple[tuple[str, ...], ...]:
    """Says of every cell what it is of, with its error."""
    where = f"{matrix.method}, step {matrix.step}"
    return tuple(
        tuple(
            f"{unit}, {circuit}, {where}: {table.Measured(value, error)}"
            for circuit, value, error in zip(matrix.circuits, values, errors, strict=True)
        )
        for unit, values, errors in zip(matrix.units, matrix.effects.tolist(), matrix.stderrs.tolist(), strict=True)
    )


def _number(circuit: str) -> str:
    """Returns a circuit's number as those of neurons are written.

    Example:
        >>> _number("circuit:07")
        '7'
    """
    name = circuit.partition(":")[2]
    return str(int(name)) if name.isdigit() else name


def _told(run: str, accuracy: pd.DataFrame) -> str:
    """Says where an accuracy ends, and its peak if it fell again."""
    values = table.numbers(accuracy, "value")
    top = int(values.argmax())
    fell = values[top] - values[-1] > _FALL
    peak = f" after {values[top]:.3f} at step {table.texts(accuracy, 'step')[top]}" if fell else ""
    return f"{run} ends at {values[-1]:.3f}{peak}"


@PANELS.register(
    "accuracy", summary="accuracy over circuits", section="Training", place=21, quantities=("sign_accuracy", "accuracy")
)
def _accuracy(view: View) -> list[Panel | None]:
    return [accuracy(view.found, control=view.control.found if view.control else None)]


@PANELS.register(
    "circuits",
    summary="which circuits are solved, by which neurons",
    section="Circuits",
    place=60,
    quantities=("circuits_solved",),
)
def _drawn(view: View) -> list[Panel | Matrix | None]:
    return [circuits(view.found, control=view.control.found if view.control else None), sharing(view.found)]
