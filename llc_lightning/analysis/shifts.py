"""How ablating a component changes the LLC of the rest: before and after, by ablation method."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.table import Measured
from llc_lightning.runtime.errors import DataError
from llc_lightning.runtime.status import OK

_CLOSING = ("llc_unrecovered", "recovery_gap", "recovery_closure")
"""What is told of the trained weights."""


@dataclass(frozen=True)
class Shift:
    """What one method does to the LLC at one step and resolution, on average over components."""

    step: int
    kind: str
    method: str
    n_beta: float
    gamma: float
    components: int
    """How many were measured."""
    ok: int
    """How many of the shifts are ok; these alone enter."""
    before: Measured
    """LLC of the whole model, re-optimised as the ablated ones are."""
    after: Measured
    """LLC of the ablated model at its own minimum (``llc_ablated``), on average."""
    shift: Measured
    """After minus before (``llc_shift``), on average; its error is that of the measurements."""
    chains: int
    """Healthy chains of the fewest of these; their number gives the intervals of a single run."""
    spread: float
    """SD of the shift over components; NaN with one."""
    single: dict[str, Measured]
    """The shift of each, by its address."""
    least: float
    most: float
    """Ends of the shifts over components; NaN with none."""
    lower: tuple[str, ...]
    higher: tuple[str, ...]
    """Components whose own shift is clear of 0: Student's t of its chains, a false discovery rate of .05 over them."""
    closed: int
    """How many of the ok ones have all of what follows, ok or ``not-closed``; these alone enter there."""
    unrecovered: Measured
    """``llc_unrecovered``, the estimate around the trained weights, on average; no value where it was not measured."""
    recovered: Measured
    """n_beta x ``recovery_gap``, on average: what of the former the other weights make good."""
    closure: Measured
    """``recovery_closure``: unrecovered - (after - recovered), 0 where the loss is curved alike around both."""
    held: dict[str, Measured] = field(default_factory=dict[str, Measured])
    """``complement_shift`` of the components whose shift is ok, where it is ok too: what comes of their own weights,
    which hold still in the ablated model as well, while nothing is ablated. Empty where it was not measured."""
    left_out: tuple[str, ...] = ()
    """Components that were measured and whose shift is not ok."""


@revisions.of_newest
def shifts(rows: pd.DataFrame, *, step: int | None = None) -> list[Shift]:
    """Returns the change of the LLC by every method, kind, and resolution at one step.

    Only components whose shift is ok enter any of the means, so that before, after and shift are of the same ones; what
    is said of the trained weights is of those among them of which all of it is ok.

    Args:
        rows: The measurement table.
        step: Training step; None takes the last one with shifts.

    Raises:
        DataError: If a component was measured under several settings, so that it is not known which is meant.
    """
    every = table.first_replicate(table.select(rows, quantity="llc_shift"))
    if not len(every):
        return []
    step = table.steps(every)[-1] if step is None else step
    here = table.first_replicate(table.select(rows, step=step))
    groups = table.by(table.select(every, step=step), "kind", "method", "n_beta", "gamma")
    return [_shift(here, shifted, *of) for of, shifted in groups]


def _shift(here: pd.DataFrame, shifted: pd.DataFrame, kind: str, method: str, n_beta: float, gamma: float) -> Shift:
    if shifted.duplicated("component").any():
        raise DataError(
            f"the {method} shift of a {kind} was measured under several settings; leave only the rows of one, by the "
            "column settings."
        )
    good = shifted.loc[table.ok(shifted)]
    at = {"n_beta": n_beta, "gamma": gamma}
    named = table.distinct(good, "component")
    own = table.select(here, kind=kind, method=method, component=named, **at)
    after = table.select(own, quantity="llc_ablated")
    closing = table.select(own, quantity=_CLOSING)
    # A closure that is missed is what is to be told of it.
    closing = closing.assign(status=closing["status"].replace("not-closed", OK))
    closing = closing.loc[table.ok(closing)]
    counts = closing["component"].value_counts()
    closed = closing.loc[np.asarray(closing["component"].map(counts) == len(_CLOSING), dtype=bool)]
    control = table.select(here, quantity="llc_ablated", component="", **at)
    held = table.select(here, quantity="complement_shift", kind=kind, component=named, **at)
    unrecovered, gap, closure = (_mean(table.select(closed, quantity=quantity)) for quantity in _CLOSING)
    values = table.numbers(good, "value")
    chains = int(table.numbers(after, "chains").min()) if len(after) else 0
    clear = _clear(values, table.numbers(good, "stderr"), chains)
    return Shift(
        step=table.steps(here)[0],
        kind=kind,
        method=method,
        n_beta=n_beta,
        gamma=gamma,
        components=len(shifted),
        ok=len(good),
        before=_mean(control.loc[table.ok(control)]),
        after=_mean(after.loc[table.ok(after)]),
        shift=_mean(good),
        chains=chains,
        spread=float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        single=_by_component(good),
        least=float(values.min()) if len(values) else float("nan"),
        most=float(values.max()) if len(values) else float("nan"),
        lower=tuple(table.texts(good.loc[clear & (values < 0)], "component")),
        higher=tuple(table.texts(good.loc[clear & (values > 0)], "component")),
        closed=len(closed) // len(_CLOSING),
        unrecovered=unrecovered,
        recovered=Measured(n_beta * gap.value, n_beta * gap.stderr),
        closure=closure,
        held=_by_component(held.loc[table.ok(held)]),
        left_out=tuple(table.texts(shifted.loc[~table.ok(shifted)], "component")),
    )


def _clear(
    values: Float[np.ndarray, "component"], stderr: Float[np.ndarray, "component"], chains: int
) -> Bool[np.ndarray, "component"]:
    """Says which values are clear of 0, of so many (Benjamini and Hochberg 1995)."""
    from scipy import stats  # takes a third of a second

    clear, known = np.zeros(len(values), dtype=bool), (stderr > 0) & (chains > 1)
    if known.any():
        p = 2 * stats.t.sf(np.abs(values[known]) / stderr[known], chains - 1)
        clear[known] = stats.false_discovery_control(p) < 1 - table.LEVEL
    return clear


def _by_component(rows: pd.DataFrame) -> dict[str, Measured]:
    told = (
        table.texts(rows, "component"),
        table.numbers(rows, "value").tolist(),
        table.numbers(rows, "stderr").tolist(),
    )
    return {name: Measured(value, stderr) for name, value, stderr in zip(*told, strict=True)}


def _mean(rows: pd.DataFrame) -> Measured:
    """Returns the mean of values; its error takes theirs as fully dependent, since they share their random numbers."""
    if not len(rows):
        return Measured(float("nan"), float("nan"))
    return Measured(float(np.mean(table.numbers(rows, "value"))), float(np.mean(table.numbers(rows, "stderr"))))
