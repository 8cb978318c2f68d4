"""Faithfulness: the share of what the network does that a circuit does alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.circuit import NoAnswerError
from llc_lightning.circuits.constants import Constants
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError, unknown
from llc_lightning.runtime.status import join

_GAP = 3.0
"""Errors by which the network must differ from the ablated one for shares to mean something."""
CONSTANTS = "constants"
"""The donor's name where constants were given."""
AVERAGES = ("ratio_of_means", "mean_of_ratios")


@dataclass(frozen=True)
class Conditions:
    """The six settings without which a faithfulness says little (Miller et al. 2024, arXiv:2407.08734)."""

    level: str
    """What is ablated: ``edge``."""
    donor: str
    """What says what is ablated; ``constants`` for constants that were given."""
    direction: str
    """``noising``: what is left out of the circuit is ablated in the run on the examples."""
    positions: str
    """``all``: an edge is kept or ablated at all positions together."""
    average: str
    """``ratio_of_means`` over examples, or ``mean_of_ratios``."""
    metric: str
    """What is compared: ``train`` for the loss, or ``metric:NAME``."""


@dataclass(frozen=True)
class Faithfulness:
    """``(m(circuit) - m(none)) / (m(all) - m(none))``, 1 for a circuit that does what the network does."""

    value: float
    stderr: float
    """Over examples, with donors and means taken as they are."""
    n: int
    """Examples."""
    edges: int
    """Edges of the circuit."""
    circuit: float
    """m of the circuit."""
    none: float
    """m with all edges ablated."""
    all: float
    """m of the network."""
    conditions: Conditions
    status: str = "ok"
    """``no-gap`` where network and ablated network are no more than 3 errors apart."""

    def as_row(self) -> dict[str, float | int | str]:
        """Returns value and conditions in one row."""
        row: dict[str, float | int | str] = {**asdict(self)}
        row.pop("conditions")
        return row | asdict(self.conditions)


def faithfulness(
    runs: MaskedRuns,
    edges: Sequence[Edge],
    *,
    average: str = AVERAGES[0],
    constants: Constants | None = None,
    blocks: Sequence[int] | None = None,
) -> Faithfulness:
    """Returns the faithfulness of a circuit: all edges but its own are ablated.

    Args:
        runs: The network and its donor.
        edges: The circuit.
        average: ``ratio_of_means``, or ``mean_of_ratios``, which examples with a small denominator rule.
        constants: What takes the donor's place.
        blocks: Which blocks of examples; all by default.

    Raises:
        SettingError: If there is no such average, or the network does nothing that its ablation does not.
    """
    return of_many(runs, [edges], average=average, constants=constants, blocks=blocks)[0]


def of_many(
    runs: MaskedRuns,
    circuits: Sequence[Sequence[Edge]],
    *,
    average: str = AVERAGES[0],
    constants: Constants | None = None,
    blocks: Sequence[int] | None = None,
    strict: bool = True,
) -> list[Faithfulness]:
    """Returns the faithfulness of several circuits; arguments and errors as of :func:`faithfulness`.

    Not ``strict``, each is NaN with the status ``no-gap`` where the network does nothing that its ablation does not.
    """
    if average not in AVERAGES:
        raise SettingError(unknown("average", average, AVERAGES))
    masks = torch.stack([runs.mask([]), runs.mask(runs.edges), *(runs.mask(edges) for edges in circuits)])
    with torch.no_grad():
        none, every, *found = runs(masks, constants=constants, blocks=blocks).double().cpu()
    if strict and _gapless(none, every):
        raise NoAnswerError(
            "with all edges ablated the network does as it does with none, so that no part of it can be faithful; take "
            "another donor, metric or examples.",
            "no-gap",
        )
    asked = runs.subject.question
    donor = asked.donor.name if constants is None else CONSTANTS
    conditions = Conditions("edge", donor, "noising", "all", average, asked.name)
    return [_of(one, none, every, len(edges), conditions) for one, edges in zip(found, circuits, strict=True)]


def _gapless(none: Float[Tensor, "example"], every: Float[Tensor, "example"]) -> bool:
    return float(every.mean()) == float(none.mean())


def _of(
    circuit: Float[Tensor, "example"],
    none: Float[Tensor, "example"],
    every: Float[Tensor, "example"],
    edges: int,
    conditions: Conditions,
) -> Faithfulness:
    above, below, n = circuit - none, every - none, len(none)
    if conditions.average == AVERAGES[0]:
        value = above.mean() / below.mean()
        influences = (above - value * below) / below.mean()
    else:
        influences = above / below
        value = influences.mean()
    stderr = float(influences.std()) / n**0.5 if n > 1 else math.nan
    of_circuit, of_none, of_all = (float(one.mean()) for one in (circuit, none, every))
    reasons = ["one-example"] if n == 1 else []
    if n > 1 and not abs(float(below.mean())) > _GAP * float(below.std()) / n**0.5:
        reasons.append("no-gap")
    told, gapless = float(value), _gapless(none, every)
    if gapless or not math.isfinite(told):
        told, stderr, reasons = math.nan, math.nan, [*reasons, "no-gap" if gapless else "nan-loss"]
    return Faithfulness(told, stderr, n, edges, of_circuit, of_none, of_all, conditions, join(reasons))
