"""What every head does, by what it attends to and by what its ablation costs; the two need not agree.

A head can look as if it did something that nothing reads, and matter without attending as any known role does. So both
are told, side by side.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llc_lightning.analysis import revisions, table

CLEAR = 0.4
"""A head attends as a role says when its score is above this."""
_METHODS = ("resample", "mean", "zero")
_ROLES = ("previous_token", "duplicate_token", "induction")
_LAYER = re.compile(r"blocks\.(\d+)\..*\[(\d+)\]")


@dataclass(frozen=True)
class HeadRoles:
    """The heads of a net at one step."""

    step: int
    method: str
    """The ablation method of the effects."""
    heads: pd.DataFrame
    """One row for each head: ``component``, ``layer``, ``head``, the scores ``previous_token``, ``duplicate_token`` and
    ``induction`` (NaN where not measured), ``role`` (the largest score's, '' where none is above 0.4), ``effect`` and
    ``effect_stderr``."""

    def top(self, role: str) -> str:
        """Returns the address of the head with the largest score of a role; '' where none is above 0.4."""
        return self._largest(role, self.heads.loc[self.heads[role].fillna(0.0) > CLEAR])

    def agreement(self) -> dict[str, bool]:
        """Says for every role that some head has, whether its head has the largest effect of its layer too."""
        layers = dict(zip(table.texts(self.heads, "component"), self.heads["layer"].tolist(), strict=True))
        tops = {role: address for role in _ROLES if (address := self.top(role))}
        in_layers = {role: table.select(self.heads, layer=layers[address]) for role, address in tops.items()}
        return {role: self._largest("effect", heads) == tops[role] for role, heads in in_layers.items()}

    def _largest(self, column: str, heads: pd.DataFrame) -> str:
        """Returns the address of the head with the largest value, '' where there is none."""
        values = table.numbers(heads, column)
        return table.texts(heads, "component")[int(np.nanargmax(values))] if np.isfinite(values).any() else ""


@revisions.of_newest
def head_roles(rows: pd.DataFrame, *, step: int | None = None, method: str | None = None) -> HeadRoles | None:
    """Returns the heads' scores and effects at a step, or None for a table without both of them.

    Args:
        rows: The measurement table.
        step: Training step; None takes the last with scores and effects of heads.
        method: Ablation method; None takes resample ablation, or the first other that was measured.
    """
    effects = table.select(rows, quantity="ablation_effect", kind="head", loss="train")
    scores = table.select(rows, quantity="attention_score", kind="head", loss="train")
    both = sorted(set(table.steps(effects)) & set(table.steps(scores)))
    if not both or (step is not None and step not in both):
        return None
    step = both[-1] if step is None else step
    effects, scores = table.select(effects, step=step), table.select(scores, step=step)
    method = method or table.in_order(table.distinct(effects, "method"), _METHODS)[0]
    effects = table.select(effects, method=method)
    if not len(effects):
        return None
    return HeadRoles(step, method, _heads(effects.loc[table.ok(effects)], scores.loc[table.ok(scores)]))


def _heads(effects: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    by_role = {role: _values(table.select(scores, method=role), "value") for role in _ROLES}
    cost, error = _values(effects, "value"), _values(effects, "stderr")
    found: list[dict[str, object]] = []
    for address in table.natural(table.distinct(effects, "component") | table.distinct(scores, "component")):
        place = _LAYER.search(address)
        told = {role: values.get(address, np.nan) for role, values in by_role.items()}
        best = max(told, key=lambda role: np.nan_to_num(told[role]))
        found.append(
            {
                "component": address,
                "layer": int(place[1]) if place else -1,
                "head": int(place[2]) if place else -1,
                **told,
                "role": best if told[best] > CLEAR else "",
                "effect": cost.get(address, np.nan),
                "effect_stderr": error.get(address, np.nan),
            }
        )
    return pd.DataFrame(found)


def _values(rows: pd.DataFrame, column: str) -> dict[str, float]:
    """Returns a column by component; of several values the one that rests on the most examples."""
    best = rows.sort_values("n_examples", kind="stable")
    return dict(zip(table.texts(best, "component"), table.numbers(best, column).tolist(), strict=True))
