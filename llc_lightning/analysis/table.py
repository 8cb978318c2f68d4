"""Reading the measurement table: rows by column value, columns as arrays, which rows count, matched rows, numbers."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import special

from llc_lightning.analysis.revisions import of_newest
from llc_lightning.results.quantities import unit_of
from llc_lightning.results.schema import decode_details
from llc_lightning.runtime import status as statuses
from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.kinds import at_level, level_of

LEVEL = 0.95
"""Probability of every interval that is drawn or printed, unless the caller says otherwise."""
_UNSEEN = 1e-5
"""An error so much smaller than its value is not written."""


@dataclass(frozen=True)
class Measured:
    """A number with its standard error, NaN where there is none."""

    value: float
    stderr: float

    def __str__(self) -> str:
        """Writes the error to one digit, two where it starts with a 1, and the value to as many decimals.

        Example:
            >>> print(Measured(0.14113, 0.0014), Measured(265.91, 4.2), Measured(16.0, 0.0), Measured(31234.0, 1234.0))
            0.1411 ± 0.0014 266 ± 4 16 31200 ± 1200
            >>> print(Measured(-0.0, 0.0), Measured(-0.001, 0.03))
            0 0.00 ± 0.03
        """
        if not isfinite(self.value):
            return "no value"
        if not isfinite(self.stderr) or self.stderr <= 0:
            return f"{self.value + 0.0:.4g}"  # 0, not -0
        if self.stderr < _UNSEEN * abs(self.value):
            return f"{self.value:.6g}"
        exponent = floor(log10(self.stderr))
        place = exponent - (1 if self.stderr / 10.0**exponent < 1.95 else 0)
        value, error = round(self.value, -place) + 0.0, round(self.stderr, -place)
        return f"{value:.{max(-place, 0)}f} ± {error:.{max(-place, 0)}f}"


def select(rows: pd.DataFrame, **wanted: str | int | float | Collection[str]) -> pd.DataFrame:
    """Returns the rows whose columns equal the wanted values; a collection of strings means any of them.

    Example:
        >>> rows = pd.DataFrame({"quantity": ["llc", "loss", "llc"], "step": [0, 0, 5]})
        >>> select(rows, quantity="llc", step=5).index.tolist()
        [2]
    """
    keep = np.ones(len(rows), dtype=bool)
    for column, value in wanted.items():
        if isinstance(value, str | float | int):
            keep &= np.asarray(rows[column] == value, dtype=bool)
        else:
            keep &= np.asarray(rows[column].isin(list(value)), dtype=bool)
    return rows.loc[keep]


def numbers(rows: pd.DataFrame, column: str) -> Float[np.ndarray, "row"]:
    """Returns a column as 64-bit floats."""
    return rows[column].to_numpy(dtype=np.float64)


def texts(rows: pd.DataFrame, column: str) -> list[str]:
    """Returns a column as strings."""
    return [str(value) for value in rows[column].tolist()]


def distinct(rows: pd.DataFrame, column: str) -> set[str]:
    """Returns the distinct values of a column as strings."""
    return {str(value) for value in rows[column].unique().tolist()}


def ok(rows: pd.DataFrame) -> Bool[np.ndarray, "row"]:
    """Says for each row whether nothing speaks against it; only such rows enter aggregates and axis limits."""
    return np.asarray(rows["status"] == statuses.OK, dtype=bool) & np.isfinite(numbers(rows, "value"))


def details(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the JSON record of each row as a dict, empty where there is none."""
    return [decode_details(text) for text in texts(rows, "details")]


def units(rows: pd.DataFrame) -> list[str]:
    """Returns the unit of each row's value: what the row says, else what its quantity is measured in."""
    told = texts(rows, "unit")
    if all(told):
        return told
    known = {quantity: unit_of(quantity) for quantity in distinct(rows, "quantity")}
    return [one or known.get(quantity, "") for one, quantity in zip(told, texts(rows, "quantity"), strict=True)]


def told_unit(rows: pd.DataFrame) -> str:
    """Returns the unit that rows say, '' where they say none.

    Raises:
        DataError: If they say several, so that they must not stand on one axis, in one sentence or ratio.

    Example:
        >>> told_unit(pd.DataFrame({"unit": ["nats per token", "", "nats per token"]}))
        'nats per token'
    """
    told = distinct(rows, "unit") - {""}
    if len(told) > 1:
        raise DataError(f"these rows are counted in {' and in '.join(sorted(told))}; take those of one unit.")
    return next(iter(told), "")


def loss_unit(rows: pd.DataFrame) -> str:
    """Returns what the training loss is counted in; '' where no row says so."""
    return told_unit(select(rows, quantity="loss", loss="train", component=""))


def replicates(rows: pd.DataFrame) -> Int[np.ndarray, "row"]:
    """Returns which set of random streams each row was measured with: 0, or 1 for the replicate of a last snapshot."""
    return rows["replicate"].to_numpy(dtype=np.int64)


def first_replicate(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows without the replicates that measure the same thing again."""
    return rows.loc[np.equal(replicates(rows), 0)]


def measured(rows: pd.DataFrame, at: int = -1) -> Measured:
    """Returns value and stderr of one of the rows."""
    return Measured(float(numbers(rows, "value")[at]), float(numbers(rows, "stderr")[at]))


def steps(rows: pd.DataFrame) -> list[int]:
    """Returns the distinct steps in order."""
    return sorted(int(step) for step in rows["step"].unique().tolist())


@of_newest
def unit_kind(rows: pd.DataFrame) -> str | None:
    """Returns the kind of the smallest components: the first of the units, else the most frequent kind."""
    counts = select(rows[["quantity", "kind"]], quantity=("llc", "ablation_effect"))["kind"].value_counts()
    found = [kind for kind in map(str, counts.index) if kind and level_of(kind) in ("units", "parts")]
    return next((kind for kind in at_level("units") if kind in found), found[0] if found else None)


@of_newest
def components(rows: pd.DataFrame, kind: str | None) -> list[str]:
    """Returns the addresses of one kind in the table, in natural order."""
    return natural(distinct(select(rows[["kind", "component"]], kind=kind or ""), "component") - {""})


def natural(names: Iterable[str]) -> list[str]:
    """Returns names in the order of the numbers in them.

    Example:
        >>> natural(["net.hook[10]", "net.hook[2]"])
        ['net.hook[2]', 'net.hook[10]']
    """
    return sorted(names, key=_parts)


def in_order(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """Returns names in the order of the ``first`` ones, then those that are none of them, by the alphabet.

    Example:
        >>> in_order({"noise", "mean", "zero", "attribution"}, ("zero", "mean"))
        ['zero', 'mean', 'attribution', 'noise']
    """
    return sorted(names, key=lambda name: (first.index(name) if name in first else len(first), name))


def most_examples(rows: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """Returns of the rows with equal values in ``on`` the one that rests on the most examples, the last of several."""
    return rows.sort_values("n_examples", kind="stable").drop_duplicates(list(on), keep="last")


@of_newest
def restricted_llc(rows: pd.DataFrame, *, kind: str | None = None) -> pd.DataFrame:
    """Returns the weight-restricted LLC (wrLLC) rows of one kind of component, without replicates."""
    found = select(rows, quantity="llc", kind=kind or unit_kind(rows) or "", loss="train")
    moved_itself = np.asarray(found["params_moved"] == found["component"], dtype=bool)
    return first_replicate(found.loc[moved_itself])


@of_newest
def full_llc(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the LLC rows of the whole model, without replicates."""
    return first_replicate(select(rows, quantity="llc", component="", params_moved="all", loss="train", method=""))


def by(rows: pd.DataFrame, *columns: str) -> list[tuple[Any, pd.DataFrame]]:
    """Returns the rows by their values of a column, or by the tuple of those of several, in the order of the values.

    Rows without a value there are in none of the parts.

    Example:
        >>> rows = pd.DataFrame({"n_beta": [300.0, 30.0, 300.0]})
        >>> [(n_beta, len(part)) for n_beta, part in by(rows, "n_beta")]
        [(30.0, 1), (300.0, 2)]
    """
    return list(rows.groupby(columns[0] if len(columns) == 1 else list(columns)))


def matched(left: pd.DataFrame, right: pd.DataFrame, on: list[str], names: tuple[str, str]) -> pd.DataFrame:
    """Returns pairs of rows with equal values in ``on``: value, stderr and status of each side, named after the sides.

    A quantity measured twice under other settings (more examples, say) is taken where it has the most examples.

    Example:
        ``matched(llc, effect, ["step", "component"], ("llc", "effect"))`` has the columns ``step``, ``component``,
        ``llc``, ``llc_stderr``, ``llc_status``, the same three of ``effect``, and the other columns of ``left``.
    """

    def side(rows: pd.DataFrame, name: str) -> dict[str, str]:
        return {"value": name, "stderr": f"{name}_stderr", "status": f"{name}_status"}

    best = most_examples(right, on)
    renamed = best[[*on, "value", "stderr", "status"]].rename(columns=side(best, names[1]))
    return left.rename(columns=side(left, names[0])).merge(renamed, on=on, how="inner", validate="many_to_one")


def matrix(
    rows: pd.DataFrame, down: tuple[str, Sequence[str]], across: tuple[str, Sequence[str] | Sequence[int]]
) -> Float[np.ndarray, "down across"]:
    """Returns the values of rows by two of their columns, each with the entries that it shall have.

    Where several rows have the same entries the last counts, where none has them the value is NaN.

    Example:
        >>> rows = pd.DataFrame({"component": ["a", "b"], "step": [0, 5], "value": [1.0, 2.0]})
        >>> matrix(rows, ("component", ["a", "b"]), ("step", [0, 5])).tolist()
        [[1.0, nan], [nan, 2.0]]
    """
    last = rows.drop_duplicates([down[0], across[0]], keep="last")
    grid = last.pivot(index=down[0], columns=across[0], values="value")
    return grid.reindex(index=list(down[1]), columns=list(across[1])).to_numpy(dtype=np.float64)


def half_width(
    stderr: Float[np.ndarray, "row"], chains: Float[np.ndarray, "row"], level: float = LEVEL
) -> Float[np.ndarray, "row"]:
    """Returns half the width of the interval around each value.

    From chains it is ``t(chains - 1) * stderr``, since the stderr itself is estimated from so few numbers; from
    examples (``chains`` 0) the normal quantile serves. A single chain has no error, so its half-width is NaN.

    Args:
        stderr: Standard error, in the unit of the value.
        chains: Number of healthy chains, 0 for values that come from no chain.
        level: Probability of the interval, in (0, 1).

    Raises:
        SettingError: If ``level`` is no probability.

    Example:
        >>> half_width(np.array([1.0, 1.0, 1.0]), np.array([0.0, 4.0, 1.0])).round(2).tolist()
        [1.96, 3.18, nan]
    """
    if not 0 < level < 1:
        raise SettingError(f"the level of an interval is {level}; give a probability between 0 and 1, such as 0.95.")
    upper = (1 + level) / 2
    freedom = np.maximum(chains - 1, 1)
    factor = np.where(chains == 0, special.ndtri(upper), special.stdtrit(freedom, upper))
    return np.where(chains == 1, np.nan, factor * stderr)


def _parts(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
