"""Pairs that are more, or less, than their members: what single ablations hide or make up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from llc_lightning.analysis import table


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
    """``redundant``: together more than alone by 2 standard errors and more than either; ``cancelling``: together less
    than each alone; ``additive``: neither."""

    @property
    def surplus(self) -> float:
        """How much more the pair does than its members' sum."""
        return self.together - sum(self.alone)


def interactions(rows: pd.DataFrame, *, step: int | None = None, loss: str = "train") -> list[Interaction]:
    """Returns the interactions of all measured pairs whose members were measured too, the largest first.

    Args:
        rows: The measurement table.
        step: The training step; None takes the last one with pairs.
        loss: The loss that the effects are on.
    """
    effects = table.select(rows, quantity="ablation_effect", loss=loss)
    pairs = table.select(effects, kind="pair")
    if not len(pairs):
        return []
    step = table.steps(pairs)[-1] if step is None else step
    here = table.select(effects, step=step)
    here = here.loc[table.ok(here)]
    keys = zip(table.texts(here, "component"), table.texts(here, "method"), strict=True)
    numbers = zip(table.numbers(here, "value").tolist(), table.numbers(here, "stderr").tolist(), strict=True)
    known = dict(zip(keys, numbers, strict=True))
    found: list[Interaction] = []
    for (component, method), (together, error) in known.items():
        members = component.split("+")
        if len(members) != 2 or any((one, method) not in known for one in members):
            continue
        alone = [known[one, method] for one in members]
        stderr = float(np.sqrt(error**2 + sum(one[1] ** 2 for one in alone)))
        values = (alone[0][0], alone[1][0])
        found.append(
            Interaction(
                component,
                (members[0], members[1]),
                method,
                together,
                values,
                stderr,
                _verdict(together, values, stderr),
            )
        )
    return sorted(found, key=lambda one: -abs(one.surplus))


def _verdict(together: float, alone: tuple[float, float], stderr: float) -> str:
    surplus = together - sum(alone)
    if surplus > 2 * stderr and together > max(alone):
        return "redundant"
    if surplus < -2 * stderr and together < min(alone):
        return "cancelling"
    return "additive"
