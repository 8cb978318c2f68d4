"""Text in rows and columns, as the page and the command line show it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd

NONE = "-"
"""What stands for no value."""


@dataclass(frozen=True)
class Table:
    """Text in rows and columns."""

    name: str
    """Short and unique."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """What the reader must know to read it."""

    def frame(self) -> "pd.DataFrame":
        """Returns the table as one of pandas, text in all of its cells."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(self.columns))

    def records(self) -> list[dict[str, str]]:
        """Returns one dict for each row, by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def flat_table(name: str, title: str, record: Mapping[str, Any]) -> Table | None:
    """Returns a nested record as keys with dots and their values."""
    rows = tuple(_flat(record))
    return Table(name, title, ("key", "value"), rows) if rows else None


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number with so many decimals."""
    return NONE if value is None or not isfinite(value) else f"{value:.{digits}f}"


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(cast("object", value))
