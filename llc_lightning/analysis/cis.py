"""Does the net compute in superposition: its loss and circuits against nets that share no neuron, and who shares what.

The verdict is two comparisons: a loss below 0.8 of the best baseline's, and more circuits solved than neurons without
sharing can serve. Participation ratios of the ablation effects are reported beside it and not judged, since they
separate superposed nets from others only weakly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from llc_lightning.analysis import revisions, table

LOSS_FACTOR = 0.8
"""A net that computes in superposition has a loss below this share of the best baseline's."""
ACCURACIES = ("sign_accuracy", "accuracy")
"""Quantities that say how often a circuit is right."""
_CIRCUIT = "circuit:"
_OVER_TRAINING = ("circuits_solved", "loss_ratio", "accuracy", "circuits_per_unit", "units_per_circuit")
_MATRIX_METHODS = ("mean", "zero", "resample", "noise")


@dataclass(frozen=True)
class EffectMatrix:
    """Which unit matters to which circuit at one step."""

    step: int
    method: str
    units: tuple[str, ...]
    circuits: tuple[str, ...]
    effects: Float[np.ndarray, "unit circuit"]
    """Rise of a circuit's loss, on the examples where it is active, when a unit is ablated; NaN where not ok."""

    @property
    def circuits_per_unit(self) -> Float[np.ndarray, "unit"]:
        """How many circuits each unit takes part in (participation ratio)."""
        return participation_ratio(self.effects)

    @property
    def units_per_circuit(self) -> Float[np.ndarray, "circuit"]:
        """How many units each circuit uses (participation ratio)."""
        return participation_ratio(self.effects.T)


@dataclass(frozen=True)
class Verdict:
    """Whether a net computes in superposition, with everything that the answer rests on."""

    step: int
    loss: table.Measured
    baselines: Mapping[str, table.Measured]
    best_baseline: str
    circuits_solved: table.Measured
    circuits_dedicated: float
    """How many circuits as many neurons can serve without sharing any (d/2 for xor)."""
    circuits: int
    accuracy: table.Measured | None
    """Mean over circuits of the share of right answers."""
    circuits_per_unit: table.Measured | None
    units_per_circuit: table.Measured | None
    """Mean participation ratios, with the standard error over units or circuits."""
    matrix_method: str
    """The ablation method behind the participation ratios, '' where there are none."""

    @property
    def loss_ratio(self) -> table.Measured:
        """The loss as a share of the best baseline's, NaN where that is 0; their errors are taken as independent."""
        best = self.baselines[self.best_baseline]
        if best.value == 0 or self.loss.value == 0:
            return table.Measured(0.0 if best.value else np.nan, np.nan)
        ratio = self.loss.value / best.value
        relative = np.hypot(self.loss.stderr / self.loss.value, best.stderr / best.value)
        return table.Measured(ratio, abs(ratio) * float(relative))

    @property
    def compared(self) -> str:
        """Says what the loss is beside the best baseline's."""
        if np.isnan(self.loss_ratio.value):
            return "not to be compared with the best baseline's, which is 0"
        return f"{self.loss_ratio} of the best baseline's"

    @property
    def beats_baselines(self) -> bool:
        """Whether the loss is below 0.8 of the best baseline's."""
        return self.loss_ratio.value < LOSS_FACTOR

    @property
    def shares_neurons(self) -> bool:
        """Whether more circuits are solved than neurons without sharing can serve."""
        return self.circuits_solved.value > self.circuits_dedicated

    @property
    def superposition(self) -> bool:
        """Whether the net computes in superposition: both of the above."""
        return self.beats_baselines and self.shares_neurons

    def sentences(self) -> list[str]:
        """Writes the verdict, its two reasons and what is reported beside it."""
        best = self.baselines[self.best_baseline]
        said = [
            f"At step {self.step} the net {'computes' if self.superposition else 'does not compute'} in superposition.",
            f"Its loss {self.loss} is {self.compared} "
            f"({self.best_baseline.replace('_', ' ')}, {best}): "
            f"{'below' if self.beats_baselines else 'not below'} {LOSS_FACTOR}.",
            f"It solves {self.circuits_solved} of {self.circuits} circuits: "
            f"{'more' if self.shares_neurons else 'not more'} than the {self.circuits_dedicated:g} "
            "that its neurons can serve without sharing.",
        ]
        shared = (
            f"A neuron takes part in {self.circuits_per_unit} circuits and a circuit uses {self.units_per_circuit} "
            f"neurons (participation ratios of {self.matrix_method}-ablation effects; reported, not judged)."
        )
        said += [f"Mean accuracy over circuits: {self.accuracy}."] if self.accuracy else []
        return [*said, shared] if self.circuits_per_unit and self.units_per_circuit else said


def participation_ratio(effects: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row"]:
    """Returns ``(sum a)^2 / sum a^2`` over the positive entries of each row: how many of them carry the row.

    NaN entries are left out; a row without a positive entry has 0.

    Example:
        >>> participation_ratio(np.array([[3.0, 0.0, 0.0], [2.0, 2.0, -5.0]])).tolist()
        [1.0, 2.0]
    """
    positive = np.clip(np.nan_to_num(effects, nan=0.0), 0, None)
    squares = (positive**2).sum(axis=1)
    return np.divide(positive.sum(axis=1) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)


@revisions.of_newest
def effect_matrix(
    rows: pd.DataFrame, *, step: int | None = None, method: str | None = None, kind: str | None = None
) -> EffectMatrix | None:
    """Returns the effects of single units on single circuits at a step, or None where there are none.

    Args:
        rows: The measurement table.
        step: Training step; None takes the last that has such effects.
        method: Ablation method; None takes mean ablation, or the first other method that was measured.
        kind: Kind of component; None takes the smallest units measured.
    """
    found = table.select(rows, quantity="ablation_effect", kind=kind or table.unit_kind(rows) or "")
    found = found.loc[np.asarray(found["loss"].str.startswith(_CIRCUIT), dtype=bool)]
    method = method or next(iter(table.in_order(table.distinct(found, "method"), _MATRIX_METHODS)), "")
    found = table.select(found, method=method)
    if not len(found):
        return None
    step = table.steps(found)[-1] if step is None else step
    at_step = table.select(found, step=step)
    good = at_step.loc[table.ok(at_step)].sort_values("n_examples", kind="stable")
    units = table.natural(table.distinct(at_step, "component"))
    circuits = table.natural(table.distinct(at_step, "loss"))
    effects = table.matrix(good, ("component", units), ("loss", circuits))
    return EffectMatrix(step, method, tuple(units), tuple(circuits), effects) if units else None


@revisions.of_newest
def superposition_verdict(rows: pd.DataFrame, *, step: int | None = None) -> Verdict | None:
    """Returns the verdict at a step, or None for a table without the rows that it needs.

    Args:
        rows: The measurement table.
        step: Training step; None takes the last with a loss, baselines and circuits solved.
    """
    options = reversed(table.steps(table.select(rows, quantity="circuits_solved"))) if step is None else [step]
    return next((verdict for one in options if (verdict := _verdict_at(rows, one)) is not None), None)


@revisions.of_newest
def superposition_over_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns circuits solved, mean accuracy, loss ratio and participation ratios at each step, with their errors.

    Columns: ``step``, ``quantity``, ``value``, ``stderr``; a quantity that was not measured at a step has no row.
    """
    verdicts = (_verdict_at(rows, step) for step in table.steps(table.select(rows, quantity="circuits_solved")))
    parts = ((one.step, name, getattr(one, name)) for one in verdicts if one for name in _OVER_TRAINING)
    found = [(step, name, part.value, part.stderr) for step, name, part in parts if part is not None]
    return pd.DataFrame(found, columns=["step", "quantity", "value", "stderr"])


def _verdict_at(rows: pd.DataFrame, step: int) -> Verdict | None:
    here = table.select(rows, step=step)
    whole = table.select(here, component="", loss="train")
    loss = _measured(table.select(whole, quantity="loss", method=""))
    solved = _measured(table.select(whole, quantity="circuits_solved", method=""))
    dedicated = _measured(table.select(whole, quantity="circuits_solved", method="dedicated"))
    losses = table.select(whole, quantity="baseline_loss")
    found = {name: _measured(table.select(losses, method=name)) for name in sorted(table.distinct(losses, "method"))}
    baselines = {name: one for name, one in found.items() if one is not None}
    if loss is None or solved is None or dedicated is None or not baselines:
        return None
    singly = table.select(here, quantity=ACCURACIES)
    matrix = effect_matrix(here, step=step)
    return Verdict(
        step=step,
        loss=loss,
        baselines=baselines,
        best_baseline=min(baselines, key=lambda name: baselines[name].value),
        circuits_solved=solved,
        circuits_dedicated=dedicated.value,
        circuits=len({name for name in table.texts(singly, "loss") if name.startswith(_CIRCUIT)}),
        accuracy=_measured(table.select(whole, quantity=ACCURACIES)),
        circuits_per_unit=_mean(matrix.circuits_per_unit) if matrix else None,
        units_per_circuit=_mean(matrix.units_per_circuit) if matrix else None,
        matrix_method=matrix.method if matrix else "",
    )


def _measured(rows: pd.DataFrame) -> table.Measured | None:
    """Returns the ok value that rests on the most examples."""
    good = rows.loc[table.ok(rows)].sort_values("n_examples", kind="stable")
    return table.measured(good) if len(good) else None


def _mean(values: Float[np.ndarray, "item"]) -> table.Measured:
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
    return table.Measured(float(values.mean()), error)
