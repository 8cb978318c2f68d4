"""What two values of one LLC at different (n_beta, gamma) say of each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot, isclose

import pandas as pd

from llc_lightning.analysis import table

_ERRORS = 2.0
_EQUAL = 0.01


@dataclass(frozen=True)
class Rung:
    """A value of an LLC, and where it is meant.

    ``counted`` is how many directions count there by the curvature at w*, ``sum_i n_beta h_i / (n_beta h_i + gamma)``;
    None where that is not at hand.
    """

    value: float
    stderr: float
    n_beta: float
    gamma: float
    counted: float | None = None

    @property
    def cut(self) -> float:
        """The curvature from which on a direction counts."""
        return self.gamma / self.n_beta

    def __str__(self) -> str:
        """Writes the value with its error and place."""
        return f"{table.Measured(self.value, self.stderr)} (n_beta {self.n_beta:.5g}, gamma {self.gamma:.4g})"


def reconciled(one: Rung, other: Rung) -> str:
    """Returns a sentence on why two values of the same weights differ, the one of the finer resolution first.

    In the quadratic approximation an LLC is ``1/2 sum_i h_i / (h_i + t)`` with ``t = gamma / n_beta``: a direction
    counts by a half where its curvature h exceeds t, so that the value rises as t falls.
    """
    finer, coarser = sorted((one, other), key=lambda rung: rung.cut)
    if isclose(finer.cut, coarser.cut, rel_tol=_EQUAL):
        return (
            f"{finer} and {coarser} see the same directions, of a curvature above gamma / n_beta = {finer.cut:.3g}: "
            "what they differ by beyond their errors is not quadratic in the loss, or a bias."
        )
    said = (
        f"{finer} and {coarser} are two resolutions of one landscape: a direction counts, by a half, where its "
        f"curvature exceeds gamma / n_beta, which is {finer.cut:.3g} for the first and {coarser.cut:.3g} for the second"
    )
    lower = coarser.value - finer.value > _ERRORS * hypot(finer.stderr, coarser.stderr)
    if lower:
        said += (
            ", so that the first should not be lower: there w* is too far from a minimum (add llc_correction), or its "
            "chains have not settled"
        )
    else:
        said += ", so that more directions count for the first"
    if finer.counted is not None and coarser.counted is not None:
        said += (
            f". By the curvature at w* alone {finer.counted:.4g} and {coarser.counted:.4g} directions count, which "
            f"makes {finer.counted / 2:.3g} and {coarser.counted / 2:.3g}; the rest is not quadratic in the loss"
        )
    return f"{said}. Compare values at equal n_beta and gamma alone."


def ladder(rows: pd.DataFrame) -> dict[int, list[Rung]]:
    """Returns the LLCs of the whole model that nothing speaks against, by step, from the lowest n_beta up."""
    llc = table.full_llc(rows)
    llc = llc.loc[table.ok(llc)].sort_values(["n_beta", "gamma"])
    return {step: [*_rungs(here)] for step, here in table.by(llc, "step")}


def _rungs(rows: pd.DataFrame) -> Iterator[Rung]:
    columns = (table.numbers(rows, name).tolist() for name in ("value", "stderr", "n_beta", "gamma"))
    for value, stderr, n_beta, gamma in zip(*columns, strict=True):
        yield Rung(value, stderr, n_beta, gamma)
