"""Pairs that are more, or less, than their members: what single ablations hide or make up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from llc_lightning.analysis import revisions, table

_Number: TypeAlias = tuple[float, float]
"""A value and its standard error."""
_Two: TypeAlias = tuple[_Number, _Number]


@dataclass(frozen=True)
class Interaction:
    """The effect of a pair beside those of its members, in the unit of the loss."""

    component: str
    members: tuple[str, str]
    method: str
    together: float
    alone: tuple[float, float]
    stderr: float
    """Of ``surplus``: the errors of all three, as if they were independent, which overstates it."""
    verdict: str
    """Less than 2 standard errors from the sum of the members: ``additive``. Clearly more than the sum: ``redundant``
    where together more than each alone, else ``amplifying``. Clearly less than the sum: ``cancelling`` where together
    less than each alone, else ``overlapping``. ``unclear`` without a standard error."""

    @property
    def surplus(self) -> float:
        """How much more the pair does than its members' sum."""
        return self.together - sum(self.alone)

    @property
    def given(self) -> tuple[float, float]:
        """The effect of each member where the other is ablated already."""
        return self.together - self.alone[1], self.together - self.alone[0]

    @property
    def ratio(self) -> float:
        """Together over the sum of the members: 1 where neither knows of the other; NaN where the sum may be 0."""
        alone = sum(self.alone)
        return self.together / alone if abs(alone) > 2 * self.stderr else float("nan")


@revisions.of_newest
def interactions(rows: pd.DataFrame, *, step: int | None = None, loss: str = "train") -> list[Interaction]:
    """Returns the interactions of all pairs whose members were measured on the same examples, the largest first.

    A pair that was measured more than once is taken where it has the most examples.

    Args:
        rows: The measurement table.
        step: The training step; None takes the last one with pairs.
        loss: The loss that the effects are on.
    """
    found = {
        pair: _interaction(*pair, together, alone)
        for pair, together, alone in _pairs(rows, step, loss)
        if alone is not None
    }
    return sorted(found.values(), key=lambda one: -abs(one.surplus))


@revisions.of_newest
def unmatched(rows: pd.DataFrame, *, step: int | None = None, loss: str = "train") -> list[str]:
    """Returns the pairs that have no interaction by any method: their members are not measured on the same examples.

    Args:
        rows: The measurement table.
        step: The training step; None takes the last one with pairs.
        loss: The loss that the effects are on.
    """
    pairs = list(_pairs(rows, step, loss))
    matched = {component for (component, _), _, alone in pairs if alone is not None}
    return table.natural({component for (component, _), _, _ in pairs} - matched)


def _pairs(rows: pd.DataFrame, step: int | None, loss: str) -> Iterator[tuple[tuple[str, str], _Number, _Two | None]]:
    """Yields component and method of every pair, its effect and those of its members, with the most examples last.

    The settings of a row name the examples that were asked for, the number of examples says how many of them count: by
    both the members are those of the same examples. None stands for members that were not measured on them.
    """
    effects = table.select(rows, quantity="ablation_effect", loss=loss)
    pairs = table.select(effects, kind="pair")
    if not len(pairs):
        return
    here = table.select(effects, step=table.steps(pairs)[-1] if step is None else step)
    here = here.loc[table.ok(here)].sort_values("n_examples", kind="stable")
    keys = zip(*(table.texts(here, name) for name in ("component", "method", "settings", "n_examples")), strict=True)
    numbers = zip(table.numbers(here, "value").tolist(), table.numbers(here, "stderr").tolist(), strict=True)
    known = dict(zip(keys, numbers, strict=True))
    for (component, *how), together in known.items():
        members = component.split("+")
        if len(members) == 2:
            one, other = (known.get((member, *how)) for member in members)
            yield (component, how[0]), together, None if one is None or other is None else (one, other)


def _interaction(component: str, method: str, together: _Number, alone: _Two) -> Interaction:
    (value, error), ((first, first_error), (second, second_error)) = together, alone
    one, other = component.split("+")
    stderr, both = float(np.sqrt(error**2 + first_error**2 + second_error**2)), (first, second)
    return Interaction(component, (one, other), method, value, both, stderr, _verdict(value, both, stderr))


def _verdict(together: float, alone: tuple[float, float], stderr: float) -> str:
    surplus = together - sum(alone)
    if not np.isfinite(stderr):
        return "unclear"
    if abs(surplus) <= 2 * stderr:
        return "additive"
    if surplus > 0:
        return "redundant" if together > max(alone) else "amplifying"
    return "cancelling" if together < min(alone) else "overlapping"
