"""Does the net compute in superposition: what it solves against what its neurons can serve without sharing.

The verdict is two comparisons that no exponent of a loss enters: more circuits solved than neurons without sharing can
serve, and a higher mean accuracy than such neurons have. A loss is told beside it, in every measure in which it was
measured, against nets that share nothing; it is not judged, since the measures contradict each other: a fourth power
forgives small errors everywhere and so rewards sharing, a square does not. Participation ratios of the ablation effects
are not judged either, since they separate superposed nets from others only weakly.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from llc_lightning.analysis import revisions, table

LOSS_FACTOR = 0.8
"""A loss is told to be clearly better than without sharing below this share of the best baseline's."""
ACCURACIES = ("sign_accuracy", "accuracy")
"""Quantities that say how often a circuit is right."""
TRAINED, OTHER = "train", "power:"
"""The column ``loss`` of the loss that was trained on, and how that of the same error under another exponent begins."""
_CIRCUIT = "circuit:"
_CLEAR = 2.0
"""Standard errors by which a comparison must hold."""
_QUANTITIES = ("loss", "baseline_loss", "circuits_solved", *ACCURACIES)
_OVER_TRAINING = ("circuits_solved", "loss_ratio", "accuracy", "circuits_per_unit", "units_per_circuit")
_USED = ["step", "quantity", "component", "kind", "method", "loss", "value", "stderr", "unit", "status", "n_examples"]
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
    stderrs: Float[np.ndarray, "unit circuit"]
    """Their standard errors; NaN where not ok."""
    unit: str = ""
    """The unit of the effects."""

    @property
    def circuits_per_unit(self) -> Float[np.ndarray, "unit"]:
        """How many circuits each unit takes part in (participation ratio)."""
        return participation_ratio(self.effects)

    @property
    def units_per_circuit(self) -> Float[np.ndarray, "circuit"]:
        """How many units each circuit uses (participation ratio)."""
        return participation_ratio(self.effects.T)


@dataclass(frozen=True)
class Compared:
    """A net's loss in one measure, beside what nets that share no neuron reach in it on the same examples."""

    name: str
    """The column ``loss``."""
    unit: str
    loss: table.Measured
    baselines: Mapping[str, table.Measured]

    @property
    def best_baseline(self) -> str:
        """The name of the least baseline."""
        return min(self.baselines, key=lambda name: self.baselines[name].value)

    @property
    def best(self) -> table.Measured:
        """The least baseline."""
        return self.baselines[self.best_baseline]

    @property
    def ratio(self) -> table.Measured:
        """The loss as a share of the best baseline's, NaN where that is 0; their errors are taken as independent."""
        if self.best.value == 0 or self.loss.value == 0:
            return table.Measured(0.0 if self.best.value else np.nan, np.nan)
        ratio = self.loss.value / self.best.value
        relative = np.hypot(self.loss.stderr / self.loss.value, self.best.stderr / self.best.value)
        return table.Measured(ratio, abs(ratio) * float(relative))

    @property
    def below(self) -> bool:
        """Whether the loss is below 0.8 of the best baseline's."""
        return self.ratio.value < LOSS_FACTOR

    def sentence(self) -> str:
        """Says what the loss is beside the best baseline's, in this measure alone."""
        trained = ", which it was trained on" if self.name == TRAINED else ""
        beside = (
            "not to be compared with the best baseline's, which is 0"
            if np.isnan(self.ratio.value)
            else f"{self.ratio} of the best baseline's"
        )
        return (
            f"In {self.unit}{trained}, its loss {self.loss} is {beside} ({self.best_baseline.replace('_', ' ')}, "
            f"{self.best})."
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a net computes in superposition, with everything that the answer rests on."""

    step: int
    losses: tuple[Compared, ...]
    """The loss that was trained on, then the same errors in other measures."""
    circuits_solved: table.Measured
    circuits_dedicated: float
    """How many circuits as many neurons can serve without sharing any (d/2 for xor)."""
    circuits: int
    accuracy: table.Measured | None
    """Mean over circuits of the share of right answers."""
    accuracy_dedicated: table.Measured | None
    """The same of neurons that share nothing, which guess where they serve no circuit; None where it is not known."""
    circuits_per_unit: table.Measured | None
    units_per_circuit: table.Measured | None
    """Mean participation ratios, with the standard error over units or circuits."""
    matrix_method: str
    """The ablation method behind the participation ratios, '' where there are none."""

    @property
    def trained(self) -> Compared:
        """The loss that was trained on."""
        return self.losses[0]

    @property
    def loss(self) -> table.Measured:
        """The value of the loss that was trained on."""
        return self.trained.loss

    @property
    def loss_ratio(self) -> table.Measured:
        """The loss that was trained on as a share of the best baseline's."""
        return self.trained.ratio

    @property
    def solves_more(self) -> bool:
        """Whether more circuits are solved than neurons without sharing can serve."""
        return _exceeds(self.circuits_solved, self.circuits_dedicated)

    @property
    def more_accurate(self) -> bool | None:
        """Whether the mean accuracy exceeds that of neurons without sharing; None where either is not known."""
        if self.accuracy is None or self.accuracy_dedicated is None:
            return None
        return _exceeds(self.accuracy, self.accuracy_dedicated.value)

    @property
    def superposition(self) -> bool:
        """Whether the net computes in superposition: both of the above, as far as they are known."""
        return self.solves_more and self.more_accurate is not False

    @property
    def shared(self) -> float:
        """Of the circuits that neurons without sharing must leave out, the share that is solved in net."""
        left = self.circuits - self.circuits_dedicated
        return (self.circuits_solved.value - self.circuits_dedicated) / left if left > 0 else float("nan")

    @property
    def solved(self) -> str:
        """Says how many circuits are solved; an error below a half is not written."""
        return counted(self.circuits_solved)

    def sentences(self) -> list[str]:
        """Writes the verdict with its reasons, what each loss says, and what is reported beside it."""
        answer = (
            f"At step {self.step} the net {'computes' if self.superposition else 'does not compute'} in superposition: "
            f"it solves {self.solved} of {self.circuits} circuits, {'more' if self.solves_more else 'not more'} than "
            f"the {self.circuits_dedicated:g} that its neurons can serve without sharing{self._accurate()}."
        )
        shared = (
            f"A neuron takes part in {self.circuits_per_unit} circuits and a circuit uses {self.units_per_circuit} "
            f"neurons (participation ratios of {self.matrix_method}-ablation effects; reported, not judged)."
        )
        said = [answer, *(one.sentence() for one in self.losses)]
        if len({one.below for one in self.losses}) > 1:
            said.append(
                "The measures disagree on whether sharing pays, so that the verdict rests on none of them: a higher "
                "power forgives small errors everywhere, which sharing makes."
            )
        return [*said, shared] if self.circuits_per_unit and self.units_per_circuit else said

    def _accurate(self) -> str:
        if self.accuracy is None:
            return ""
        without = self.accuracy_dedicated
        beside = f" ({without.value:.2f} without sharing)" if without else ""
        return f", with a mean accuracy of {self.accuracy}{beside}"


def counted(number: table.Measured) -> str:
    """Writes a count with its error in whole numbers; an error that rounds to 0 is not written.

    Example:
        >>> counted(table.Measured(32.0, 0.019)), counted(table.Measured(21.0, 1.3))
        ('32', '21 ± 1')
    """
    error = round(number.stderr) if np.isfinite(number.stderr) else 0
    return f"{number.value:g} ± {error}" if error else f"{number.value:g}"


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
    found = _circuit_effects(rows, method, kind)
    if not len(found):
        return None
    at = table.steps(found)[-1] if step is None else step
    return next(_matrices(table.select(found, step=at)), None)


@revisions.of_newest
def superposition_verdict(rows: pd.DataFrame, *, step: int | None = None) -> Verdict | None:
    """Returns the verdict at a step, or None for a table without the rows that it needs.

    Args:
        rows: The measurement table.
        step: Training step; None takes the last with a loss, baselines and circuits solved.
    """
    rows = rows if step is None else table.select(rows, step=step)
    verdicts = _verdicts(rows, {})
    if not verdicts:
        return None
    last = max(verdicts)
    here = table.select(rows, step=last)
    matrix = effect_matrix(here)
    return _verdicts(here, {last: matrix} if matrix else {})[last]


@revisions.of_newest
def superposition_over_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns circuits solved, mean accuracy, loss ratio and participation ratios at each step, with their errors.

    Columns: ``step``, ``quantity``, ``value``, ``stderr``; a quantity that was not measured at a step has no row.
    """
    matrices = {one.step: one for one in _matrices(_circuit_effects(rows))}
    verdicts = _verdicts(rows, matrices).values()
    parts = ((one.step, name, getattr(one, name)) for one in verdicts for name in _OVER_TRAINING)
    found = [(step, name, part.value, part.stderr) for step, name, part in parts if part is not None]
    return pd.DataFrame(found, columns=["step", "quantity", "value", "stderr"])


@dataclass
class _Whole:
    """What is known of the whole net at a step: by quantity, method and loss, for each number of examples."""

    values: dict[tuple[str, str, str], dict[int, table.Measured]] = field(
        default_factory=lambda: defaultdict[tuple[str, str, str], dict[int, table.Measured]](dict)
    )
    units: dict[str, str] = field(default_factory=dict[str, str])
    """The units of losses."""

    def best(self, quantity: str, method: str = "", loss: str = TRAINED, n: int | None = None) -> table.Measured | None:
        """Returns the value on ``n`` examples where there is one, else that on the most."""
        found = self.values.get((quantity, method, loss), {})
        return found[n if n in found else max(found)] if found else None

    def compared(self) -> Iterator[Compared]:
        """Yields what was measured of the loss in each measure, that which was trained on first."""
        names = {loss for quantity, _, loss in self.values if quantity == "baseline_loss"}
        for name in sorted(names, key=lambda name: (name != TRAINED, name)):
            methods = sorted(
                method for quantity, method, loss in self.values if (quantity, loss) == ("baseline_loss", name)
            )
            n = max(max(self.values["baseline_loss", method, name]) for method in methods)
            loss = self.best("loss", loss=name, n=n)
            baselines = {method: one for method in methods if (one := self.best("baseline_loss", method, name, n))}
            if loss is not None:
                yield Compared(name, self.units.get(name, ""), loss, baselines)


def _verdicts(rows: pd.DataFrame, matrices: Mapping[int, EffectMatrix]) -> dict[int, Verdict]:
    """Returns the verdicts of all steps that have one, in their order."""
    whole = _wholes(rows)
    every = {step: _verdict(step, whole[step], matrices.get(step)) for step in sorted(whole)}
    return {step: one for step, one in every.items() if one is not None}


def _wholes(rows: pd.DataFrame) -> dict[int, _Whole]:
    some = table.select(rows[_USED], quantity=_QUANTITIES, component="")
    some = some.loc[table.ok(some)]
    columns = [some[name].tolist() for name in ("step", "quantity", "method", "loss", "n_examples", "value", "stderr")]
    found: dict[int, _Whole] = defaultdict(_Whole)
    for step, quantity, method, loss, n, value, stderr, unit in zip(*columns, table.units(some), strict=True):
        found[step].values[quantity, method, loss][n] = table.Measured(value, stderr)
        if quantity == "loss":
            found[step].units[loss] = unit
    return found


def _verdict(step: int, whole: _Whole, matrix: EffectMatrix | None) -> Verdict | None:
    solved, dedicated = whole.best("circuits_solved"), whole.best("circuits_solved", "dedicated")
    losses = tuple(whole.compared())
    if solved is None or dedicated is None or not losses or losses[0].name != TRAINED:
        return None
    return Verdict(
        step=step,
        losses=losses,
        circuits_solved=solved,
        circuits_dedicated=dedicated.value,
        circuits=len({loss for quantity, _, loss in whole.values if quantity in ACCURACIES and _CIRCUIT in loss}),
        accuracy=_accuracy(whole, ""),
        accuracy_dedicated=_accuracy(whole, "dedicated"),
        circuits_per_unit=_mean(matrix.circuits_per_unit) if matrix else None,
        units_per_circuit=_mean(matrix.units_per_circuit) if matrix else None,
        matrix_method=matrix.method if matrix else "",
    )


def _accuracy(whole: _Whole, method: str) -> table.Measured | None:
    return next((one for name in ACCURACIES if (one := whole.best(name, method))), None)


def _exceeds(one: table.Measured, bound: float) -> bool:
    """Says whether a value is above a bound by so many standard errors as are clear."""
    return one.value - _CLEAR * float(np.nan_to_num(one.stderr)) > bound


def _circuit_effects(rows: pd.DataFrame, method: str | None = None, kind: str | None = None) -> pd.DataFrame:
    """Returns the effects of units on circuits by one method."""
    circuits = {loss for loss in table.distinct(rows, "loss") if loss.startswith(_CIRCUIT)}
    found = table.select(
        rows[_USED], quantity="ablation_effect", kind=kind or table.unit_kind(rows) or "", loss=circuits
    )
    method = method or next(iter(table.in_order(table.distinct(found, "method"), _MATRIX_METHODS)), "")
    return table.select(found, method=method)


def _matrices(effects: pd.DataFrame) -> Iterator[EffectMatrix]:
    """Yields the matrix of every step; of several values of one entry the one that rests on the most examples."""
    if not len(effects):
        return
    ordered = effects.sort_values(["step", "n_examples"], kind="stable")
    good, steps = table.ok(ordered), ordered["step"].to_numpy()
    numbers = np.stack([table.numbers(ordered, name) for name in ("value", "stderr")])
    method, unit = table.texts(ordered, "method")[0], next(iter(table.units(ordered.iloc[:1])))
    (row, units), (column, circuits) = (_numbered(ordered, name) for name in ("component", "loss"))
    edges = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
    for start, stop in pairwise(edges):
        values = np.full((2, len(units), len(circuits)), np.nan)
        here = slice(start, stop)
        usable: Bool[np.ndarray, "entry"] = good[here]
        values[:, row[here][usable], column[here][usable]] = numbers[:, here][:, usable]
        rows: list[int] = sorted(set(row[here].tolist()))
        columns: list[int] = sorted(set(column[here].tolist()))
        means, stderrs = values[:, rows][:, :, columns]
        yield EffectMatrix(
            *(int(steps[start]), method, tuple(units[i] for i in rows), tuple(circuits[i] for i in columns)),
            effects=means,
            stderrs=stderrs,
            unit=unit,
        )


def _numbered(rows: pd.DataFrame, column: str) -> tuple[Int[np.ndarray, "row"], list[str]]:
    """Returns for each row the place of its value among the distinct ones, and these in natural order."""
    codes, names = pd.factorize(rows[column])
    ordered = table.natural(map(str, names))
    place = {name: at for at, name in enumerate(ordered)}
    return np.array([place[str(name)] for name in names])[codes], ordered


def _mean(values: Float[np.ndarray, "item"]) -> table.Measured:
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
    return table.Measured(float(values.mean()), error)
