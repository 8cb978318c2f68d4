"""Which of two tasks a component serves: its ablation effect on one against that on the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from llc_lightning.analysis import revisions, table
from llc_lightning.runtime.kinds import at_level

SELECTIVE = 0.8
"""A component serves one task where |s| is above this: its effect there is over nine times that on the other."""
CLEAR = 3.0
"""A selectivity is told where the two effects together are so many standard errors above 0."""
COLUMNS = (
    *("step", "component", "kind", "method", "first", "second", "effect", "effect_stderr"),
    *("value", "stderr", "clear"),
)

_TASK = "task:"
_METHODS = ("mean", "zero", "resample", "noise")
_KEY = ["step", "component", "kind", "method"]


@dataclass(frozen=True)
class Group:
    """The units of one hook point at one step."""

    step: int
    point: str
    kind: str
    units: int
    clear: int
    """Units whose selectivity is told."""
    first: int
    second: int
    """Clear units that serve one task."""

    @property
    def selective(self) -> float:
        """The share of clear units that serve one task; NaN where none is clear."""
        return (self.first + self.second) / self.clear if self.clear else float("nan")

    @property
    def stderr(self) -> float:
        """Its standard error as a share of so many units, with two successes and two failures added."""
        share = (self.first + self.second + 2) / (self.clear + 4)
        return float(np.sqrt(share * (1 - share) / (self.clear + 4)))


@revisions.of_newest
def task_pair(rows: pd.DataFrame) -> tuple[str, str] | None:
    """Returns the two tasks that effects were measured on, the last in the alphabet first; None where not two.

    So ``mnist`` comes before ``fashion``: a selectivity of 1 means it alone.
    """
    losses = table.distinct(table.select(rows[["quantity", "loss"]], quantity="ablation_effect"), "loss")
    tasks = sorted((loss for loss in losses if loss.startswith(_TASK)), reverse=True)
    return (tasks[0], tasks[1]) if len(tasks) == 2 else None


@revisions.of_newest
def selectivity(
    rows: pd.DataFrame, *, tasks: tuple[str, str] | None = None, methods: Sequence[str] | None = None
) -> pd.DataFrame:
    """Returns the task selectivity ``s = (a - b) / (a + b)`` of every component at every step.

    ``a`` and ``b`` are its ablation effects on the two tasks; a negative one counts as 0, so that s lies between -1 and
    1. The standard error follows from those of the effects to first order (delta method). Where every example is of one
    task the two are independent; where every example is of both, their covariance follows from the error of the effect
    on the whole loss, which is their mean: ``cov = 2 var(joint) - (var(a) + var(b)) / 2``.

    Args:
        rows: The measurement table.
        tasks: The two losses, such as ``task:mnist`` and ``task:fashion``; by default those in the table.
        methods: Ablation methods; None takes mean ablation, or the first other method that was measured.

    Returns:
        A table with the columns ``COLUMNS``: both effects, their sum ``effect`` with its error, s as ``value`` with its
        error, and whether the sum is ``clear`` of 0. s is NaN where both effects are 0 or below. Rows that are not ok
        give none. It is empty where there are not two tasks.
    """
    tasks = tasks or task_pair(rows)
    if tasks is None:
        return pd.DataFrame(columns=list(COLUMNS))
    effects = table.select(rows, quantity="ablation_effect", loss=(*tasks, "train"))
    effects = effects.loc[table.ok(effects)]
    if not len(effects):
        return pd.DataFrame(columns=list(COLUMNS))
    methods = methods or table.in_order(table.distinct(effects, "method"), _METHODS)[:1]
    effects = table.select(effects, method=methods)
    best = table.most_examples(effects, [*_KEY, "loss"])[[*_KEY, "loss", "value", "stderr", "n_examples"]]
    first, second, joint = (table.select(best, loss=loss).drop(columns="loss") for loss in (*tasks, "train"))
    both = first.merge(second, on=_KEY, suffixes=("_a", "_b")).merge(joint, on=_KEY, how="left")
    a, b = (np.clip(table.numbers(both, f"value_{side}"), 0, None) for side in "ab")
    var_a, var_b = (table.numbers(both, f"stderr_{side}") ** 2 for side in "ab")
    cov = _covariance(both, var_a, var_b)
    total = a + b
    error = np.sqrt(np.clip(var_a + var_b + 2 * cov, 0, None))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(total > 0, (a - b) / total, np.nan)
        variance = 4 * (b**2 * var_a + a**2 * var_b - 2 * a * b * cov) / total**4
    found = both[_KEY].assign(
        first=table.numbers(both, "value_a"),
        second=table.numbers(both, "value_b"),
        effect=total,
        effect_stderr=error,
        value=value,
        stderr=np.where(total > 0, np.sqrt(np.clip(variance, 0, None)), np.nan),
        clear=(total > CLEAR * error) & (total > 0),
    )
    places = {name: place for place, name in enumerate(table.natural(table.distinct(found, "component")))}
    ordered = found.assign(place=[places[name] for name in table.texts(found, "component")])
    return ordered.sort_values(["step", "place"], kind="stable", ignore_index=True)[list(COLUMNS)]


def groups(found: pd.DataFrame) -> list[Group]:
    """Returns how many units of each hook point serve one task, at every step; what is no single unit is left out.

    Args:
        found: What :func:`selectivity` returned, of one method.
    """
    units = table.select(found, kind=at_level("units"))
    units = units.assign(point=[name.partition("[")[0] for name in table.texts(units, "component")])
    made: list[Group] = []
    for step in table.steps(units):
        here = table.select(units, step=step)
        for point in table.natural(table.distinct(here, "point")):
            part = table.select(here, point=point)
            value = table.numbers(part, "value")
            clear: Bool[np.ndarray, "unit"] = np.asarray(part["clear"], dtype=bool)
            first, second = (int((clear & (sign * value > SELECTIVE)).sum()) for sign in (1, -1))
            made.append(Group(step, point, table.texts(part, "kind")[0], len(part), int(clear.sum()), first, second))
    return made


def _covariance(
    both: pd.DataFrame, var_a: Float[np.ndarray, "row"], var_b: Float[np.ndarray, "row"]
) -> Float[np.ndarray, "row"]:
    """Returns the covariance of both effects: 0 where no example is of both tasks."""
    n_a, n_b, n = (table.numbers(both, name) for name in ("n_examples_a", "n_examples_b", "n_examples"))
    together = (n_a == n) & (n_b == n)
    limit = np.sqrt(var_a * var_b)
    cov = 2 * table.numbers(both, "stderr") ** 2 - (var_a + var_b) / 2
    return np.where(together, np.clip(cov, -limit, limit), 0.0)
