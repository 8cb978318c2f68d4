"""When each connection of a network enters its circuit and leaves it, beside the transition of its LLC.

An edge is in the circuit at a snapshot where the size of its value (an effect, or the share of circuits that hold it)
is at least a threshold. It enters where that is so for the first time and leaves behind the last, interpolated in
log(1 + step) between two snapshots. Errors of the measurements are carried into it by draws; it cannot be known better
than the distance of the snapshots, which the interval has in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.phases import Phase, phase
from llc_lightning.runtime.errors import DataError, SettingError

QUANTITIES = {"edge_effect": 0.1, "edge_score": 0.1, "edge_share": 0.5}
"""What tells whether an edge is in the circuit, each with its threshold by default."""
_DRAWS = 1000


@dataclass(frozen=True)
class Passage:
    """When something enters or leaves."""

    step: float
    low: float
    high: float
    """Ends of the interval by the errors of the measurements, widened to the snapshots on both sides."""

    def __str__(self) -> str:
        """Writes the step with its interval."""
        return f"{self.step:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class EdgeLife:
    """An edge over training."""

    edge: str
    enters: Passage
    """From step 0 where it is in the circuit at the first snapshot."""
    leaves: Passage | None
    """None where it is in the circuit at the last snapshot."""
    half: Phase | None
    """When its value has done half of its way; None where it has no phase time."""
    largest: float
    """The value that is farthest from 0."""
    last: float
    sure: float
    """The share of draws in which it enters at all."""
    left_out: int
    """Snapshots at which its value is not ok."""

    def overlaps(self, other: Phase | Passage) -> bool:
        """Says whether the interval in which it enters meets another."""
        return self.enters.low <= other.high and other.low <= self.enters.high


@revisions.of_newest
def edge_lives(
    rows: pd.DataFrame,
    *,
    quantity: str = "edge_effect",
    method: str | None = None,
    loss: str | None = None,
    least: float | None = None,
    level: float = table.LEVEL,
) -> list[EdgeLife]:
    """Returns every edge that is ever in the circuit, those that enter first before the others.

    Args:
        rows: The measurement table.
        quantity: ``edge_effect``, ``edge_score`` or ``edge_share``.
        method: How edges were scored or circuits found; None where that was done in one way.
        loss: On which loss; None where it was done on one.
        least: The threshold; by default .1 of an effect or score, .5 of a share.
        level: Probability of the intervals.

    Raises:
        SettingError: If the quantity is of no edge, or the threshold is not above 0.
        DataError: If edges were measured in several ways, and none is named.
    """
    if quantity not in QUANTITIES:
        raise SettingError(f"{quantity!r} says nothing of edges; use one of: {', '.join(QUANTITIES)}.")
    threshold = QUANTITIES[quantity] if least is None else least
    if not threshold > 0:
        raise SettingError(f"least is {least}; give a number above 0, from which on an edge is in the circuit.")
    found = edge_rows(rows, quantity=quantity, method=method, loss=loss)
    zeros = _zeros(rows, found) if quantity == "edge_share" else {}
    lives = (_life(str(edge), some, threshold, level, zeros) for edge, some in table.by(found, "component"))
    return sorted((one for one in lives if one is not None), key=lambda one: (one.enters.step, one.edge))


@revisions.of_newest
def edge_rows(
    rows: pd.DataFrame, *, quantity: str = "edge_effect", method: str | None = None, loss: str | None = None
) -> pd.DataFrame:
    """Returns the rows of edges that were measured in one way.

    Raises:
        DataError: If there are several ways, and none is named, or one edge has two rows at a step.
    """
    found = table.select(rows, quantity=quantity)
    for column, chosen in (("method", method), ("loss", loss)):
        ways = sorted(table.distinct(found, column))
        if chosen is None and len(ways) > 1:
            raise DataError(f"edges were measured with {' and with '.join(ways)}; give one of them as {column}.")
        found = table.select(found, **{column: ways if chosen is None else chosen}) if ways else found
    if found.duplicated(["component", "step"]).any():
        raise DataError(
            "edges were measured under several settings; leave only the rows of one, by the column settings."
        )
    return found


def _zeros(rows: pd.DataFrame, shares: pd.DataFrame) -> dict[int, tuple[float, float]]:
    """Returns the share 0 with its error, for each step at which circuits were found anew in the way of the shares.

    The error is that of two more circuits that hold an edge and two that do not (Agresti and Coull 1998).
    """
    alike = {column: table.distinct(shares, column) for column in ("method", "loss", "settings")}
    known = table.select(rows, quantity="circuit_resamples", **alike)
    known = known.loc[table.ok(known)]
    counts = zip(known["step"].tolist(), table.numbers(known, "value").tolist(), strict=True)
    return {int(step): (0.0, (2 * (count + 2)) ** 0.5 / (count + 4) ** 1.5) for step, count in counts}


def _life(
    edge: str, rows: pd.DataFrame, least: float, level: float, zeros: Mapping[int, tuple[float, float]]
) -> EdgeLife | None:
    """Returns the life of one edge; None for one that is never in the circuit.

    Args:
        edge: Its name.
        rows: Its rows.
        least: The threshold.
        level: Probability of the intervals.
        zeros: Value and error where it has no row, being in no circuit, by the step.
    """
    counts = table.ok(rows) | np.asarray(rows["status"] == "unreachable", dtype=bool)
    known = rows.loc[counts].sort_values("step")
    told = {
        int(step): (value, stderr if np.isfinite(stderr) else 0.0)
        for step, value, stderr in zip(
            known["step"].tolist(), table.numbers(known, "value"), table.numbers(known, "stderr"), strict=True
        )
    }
    told = {**zeros, **told}
    if not told:
        return None
    steps = sorted(told)
    values, stderrs = (np.array([told[step][at] for step in steps]) for at in range(2))
    above = np.abs(values) >= least
    if not above.any():
        return None
    drawn = np.abs(values + stderrs * np.random.default_rng(0).standard_normal((_DRAWS, len(values))))
    at, sizes = np.log1p(np.asarray(steps, dtype=np.float64)), np.abs(values)
    return EdgeLife(
        edge,
        enters=_passage(at, sizes, drawn, least, level),
        leaves=None if above[-1] else _passage(at[::-1], sizes[::-1], drawn[:, ::-1], least, level),
        half=phase(steps, values, stderrs, level=level),
        largest=float(values[sizes.argmax()]),
        last=float(values[-1]),
        sure=float((drawn >= least).any(1).mean()),
        left_out=len(rows) - len(known),
    )


def _passage(
    at: Float[np.ndarray, "snapshot"],
    sizes: Float[np.ndarray, "snapshot"],
    drawn: Float[np.ndarray, "draw snapshot"],
    least: float,
    level: float,
) -> Passage:
    """Returns where sizes first reach a threshold, going along ``at`` in either direction."""
    place, after = _first(at, sizes[None], least)
    places, _ = _first(at, drawn[(drawn >= least).any(1)], least)
    ends = np.quantile(places, [(1 - level) / 2, (1 + level) / 2]) if len(places) else np.r_[place, place]
    first, before = int(after[0]), at[int(after[0]) - 1] if after[0] else 0.0
    low, high = min(ends[0], before, at[first]), max(ends[1], before, at[first])
    return Passage(*(float(np.expm1(one)) for one in (place[0] if first else low, low, high)))


def _first(
    at: Float[np.ndarray, "snapshot"], sizes: Float[np.ndarray, "draw snapshot"], least: float
) -> tuple[Float[np.ndarray, "draw"], Int[np.ndarray, "draw"]]:
    """Returns where each trajectory first reaches a threshold, and the number of the snapshot from which on it has."""
    rows = np.arange(len(sizes))
    after = (sizes >= least).argmax(1)
    before = np.maximum(after - 1, 0)
    left, right = sizes[rows, before], sizes[rows, after]
    share = np.where(after > 0, (least - left) / np.where(right > left, right - left, 1.0), 0.0)
    return at[before] + np.clip(share, 0, 1) * (at[after] - at[before]), after


@revisions.of_newest
def llc_transitions(rows: pd.DataFrame, *, level: float = table.LEVEL) -> dict[tuple[float, float], Phase | None]:
    """Returns when the LLC of the whole model has done half of its way, by n_beta and gamma, from rows that are ok.

    Raises:
        DataError: If it was measured under several settings at one step.
    """
    found: dict[tuple[float, float], Phase | None] = {}
    for (n_beta, gamma), some in table.by(table.full_llc(rows), "n_beta", "gamma"):
        known = some.loc[table.ok(some)].sort_values("step")
        if known.duplicated("step").any():
            raise DataError(
                f"the LLC at n_beta {n_beta:g} and gamma {gamma:g} was measured under several settings; leave only the "
                "rows of one, by the column settings."
            )
        told = (table.numbers(known, "value"), np.nan_to_num(table.numbers(known, "stderr")))
        found[float(n_beta), float(gamma)] = phase(table.steps(known), *told, level=level)
    return found
