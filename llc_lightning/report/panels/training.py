"""How the loss fell, beside what nets that share no neuron can reach."""

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Panel, Rule, Series, step_axis
from llc_lightning.report.panels.curves import LOSS_LABEL, over
from llc_lightning.report.sections import PANELS, Findings, View

_MOST_POINTS = 800


def training(
    found: Findings, logged: pd.DataFrame, *, control: tuple[Findings, pd.DataFrame] | None = None
) -> Panel | None:
    """Returns the training loss, the loss on the analysis set with its error, and the best baseline.

    Args:
        found: What was found about the run.
        logged: The training loss as it was logged, with the columns ``step`` and ``value``; may be empty.
        control: The same two of a run to compare with.
    """
    losses = _losses(found)
    if not len(logged) and not len(losses):
        return None
    axis = step_axis([*table.steps(logged), *table.steps(losses)])
    series: list[Series] = []
    runs = [(found, logged, palette.LOSS, "")]
    if control:
        runs.append((*control, palette.CONTROL, f", {control[0].run}"))
    for one, curve, color, whose in runs:
        if len(curve):
            shown = _thinned(curve)
            name, at = f"training batches{whose}", axis.place(table.numbers(shown, "step"))
            series.append(Series(name, at, table.numbers(shown, "value"), color, width=1.0, opacity=0.45))
        if len(_losses(one)):
            series.append(over(_losses(one), axis, name=f"analysis set{whose}", color=color, marker="circle"))
    rules: tuple[Rule, ...] = ()
    if found.verdict:
        best = found.verdict.baselines[found.verdict.best_baseline]
        name = found.verdict.best_baseline.replace("_", " ")
        # A loss of 0 has no place on the logarithmic axis.
        rules = (Rule(best.value, f"best baseline ({name}): {best.value:.3g}"),) if best.value > 0 else ()
    ending = f" ends at {table.measured(losses)} at step {table.steps(losses)[-1]}" if len(losses) else ""
    caption = f"Bands: {100 * found.level:g} % intervals." if len(losses) else ""
    title, y = f"The loss{ending}", Axis(LOSS_LABEL, log=True)
    return Panel("training", title, axis, y, tuple(series), rules, caption=caption)


def _losses(found: Findings) -> pd.DataFrame:
    """Returns the loss of the whole model at each step, on the most examples it was measured on."""
    losses = table.select(found.trajectories, quantity="loss", component="", method="")
    return table.most_examples(losses, ["step"]).sort_values("step")


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Returns so many points at most, spread evenly in the logarithm of their place, so that the page stays small."""
    if len(curve) <= _MOST_POINTS:
        return curve
    return curve.iloc[np.unique(np.geomspace(1, len(curve), _MOST_POINTS).astype(int)) - 1]


@PANELS.register(
    "training", summary="how the loss fell", section="Training", place=20, quantities=("loss", "baseline_loss")
)
def _drawn(view: View) -> list[Panel | None]:
    control = view.control
    return [training(view.found, view.logged.loss, control=(control.found, control.logged.loss) if control else None)]
