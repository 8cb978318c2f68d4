"""How the loss fell, beside what nets that share no neuron can reach: a figure for each measure of the loss."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.cis import OTHER, TRAINED
from llc_lightning.report import palette
from llc_lightning.report.panel import Panel, Rule, Series, axis_in, step_axis
from llc_lightning.report.panels.curves import over
from llc_lightning.report.sections import PANELS, Findings, View
from llc_lightning.results.quantities import LOSS_UNIT, unit_of

_MOST_POINTS = 800


def training(
    found: Findings, logged: pd.DataFrame, *, control: tuple[Findings, pd.DataFrame] | None = None
) -> list[Panel]:
    """Returns the training loss, the loss on the analysis set with its error, and the best baseline, in each measure.

    The loss that was trained on comes first. A control is shown beside where its loss is known in the same measure,
    whatever it was trained on.

    Args:
        found: What was found about the run.
        logged: The training loss as it was logged, with the columns ``step`` and ``value``; may be empty.
        control: The same two of a run to compare with.
    """
    runs = [(found, logged, palette.LOSS, "")]
    if control:
        runs.append((*control, palette.CONTROL, f", {control[0].run}"))
    own = found.loss_unit
    units = list(dict.fromkeys([own, *(unit for one, *_ in runs for unit in _measures(one))]))
    panels = [_in_unit(unit, runs if unit else runs[:1], at) for at, unit in enumerate(units)]
    return [panel for panel in panels if panel is not None]


def _in_unit(unit: str, runs: list[tuple[Findings, pd.DataFrame, str, str]], at: int) -> Panel | None:
    found = runs[0][0]
    shown = [(one, _losses(one, unit), logged if one.loss_unit == unit else logged[:0], color, whose)
             for one, logged, color, whose in runs]  # fmt: skip
    steps = [step for _, losses, logged, *_ in shown for some in (losses, logged) for step in table.steps(some)]
    if not steps:
        return None
    axis = step_axis(steps)
    series: list[Series] = []
    for _, losses, logged, color, whose in shown:
        if len(logged):
            curve = _thinned(logged)
            place = axis.place(table.numbers(curve, "step"))
            name = f"training batches{whose}"
            values = table.numbers(curve, "value")
            hover = tuple(
                f"{name}, step {step}: {value:.4g}"
                for step, value in zip(table.texts(curve, "step"), values.tolist(), strict=True)
            )
            series.append(Series(name, place, values, color, width=1.0, opacity=0.45, unit=unit, hover=hover))
        if len(losses):
            series.append(over(losses, axis, name=f"analysis set{whose}", color=color, marker="circle"))
    mine = shown[0][1]
    ending = f" ends at {table.measured(mine)} at step {table.steps(mine)[-1]}" if len(mine) else ""
    said = unit or unit_of("loss")
    measure = "" if said == LOSS_UNIT else f" in {said}"
    return Panel(
        f"training-{at}" if at else "training",
        f"The loss{measure}{'' if unit == found.loss_unit else ', not trained on,'}{ending}",
        axis,
        axis_in("loss", said, log=True),
        tuple(series),
        tuple(_best(found, unit)),
        caption=f"Analysis set: {_examples(mine)}. Bands: {100 * found.level:g} % intervals." if len(mine) else "",
    )


def _examples(losses: pd.DataFrame) -> str:
    """Says how many examples losses rest on; that they are fewer in other figures is why its ending differs there."""
    return f"{' or '.join(f'{n:,}' for n in sorted(set(losses['n_examples'].astype(int).tolist())))} examples"


def _best(found: Findings, unit: str) -> Iterator[Rule]:
    """Yields the line of the best baseline in a measure; a loss of 0 has no place on the logarithmic axis."""
    for one in found.verdict.losses if found.verdict else ():
        if one.best.value > 0 and _same(one.unit, unit):
            yield Rule(one.best.value, f"best baseline ({one.best_baseline.replace('_', ' ')}): {one.best.value:.3g}")


def _same(one: str, unit: str) -> bool:
    return one == (unit or unit_of("loss"))


def _measures(found: Findings) -> list[str]:
    """Returns the units of the losses that were measured of the whole net; none where they are not known."""
    return sorted(table.distinct(_whole(found), "unit") - {""})


def _losses(found: Findings, unit: str) -> pd.DataFrame:
    """Returns the loss of the whole model at each step in a measure, on the most examples it was measured on."""
    losses = table.select(_whole(found), unit=unit)
    return table.most_examples(losses, ["step"]).sort_values("step")


def _whole(found: Findings) -> pd.DataFrame:
    losses = table.select(found.losses, component="", method="")
    named = np.asarray((losses["loss"] == TRAINED) | losses["loss"].str.startswith(OTHER), dtype=bool)
    return losses.loc[named]


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Returns so many points at most, spread evenly in the logarithm of their place, so that the page stays small."""
    if len(curve) <= _MOST_POINTS:
        return curve
    return curve.iloc[np.unique(np.geomspace(1, len(curve), _MOST_POINTS).astype(int)) - 1]


@PANELS.register(
    "training", summary="how the loss fell", section="Training", place=20, quantities=("loss", "baseline_loss")
)
def _drawn(view: View) -> list[Panel]:
    control = view.control
    return training(view.found, view.logged.loss, control=(control.found, control.logged.loss) if control else None)
