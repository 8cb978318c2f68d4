"""The tables of ``docs/findings.md``, which stand between comments of their names."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from llc_lightning.report.cells import NONE, Table
from study.parts import HERE

PAGE = HERE.parent / "docs" / "findings.md"
Row = Mapping[str, str]


def _whole(row: Row) -> bool:
    return True


def _ordered(row: Row) -> bool:
    """Says whether wrLLC is held against an ablation effect, or its incoming side against the zero effect."""
    if row["LLC score"] == "wrLLC:in":
        return row["effect"] == "zero" and row["matched"] == "yes"
    return row["LLC score"] == "wrLLC" and not row["effect"].startswith("attribution")


SHOWN: dict[str, Callable[[Row], bool]] = {
    "found": lambda row: not row["ok"].startswith("0 of "),
    "within": _whole,
    "order": _ordered,
    "changes": lambda row: row["change (A3 - full)"] != "no value",
    "singles": _whole,
    "controls": lambda row: row["LLC before (status)"].endswith("(ok)"),
    "scrubbed": lambda row: row["loss: same label"] != NONE,
    "repeats": _whole,
    "dated": _whole,
    "leads": _whole,
    "peaks": _whole,
    "measured": _whole,
}
"""The tables that the page shows, and which of their rows."""


def with_tables(text: str, tables: Iterable[Table]) -> str:
    """Returns the text of the page with its tables as they are now.

    Raises:
        ValueError: If a table is not there, or has no place in the page.
    """
    by_name = {one.name: one for one in tables}
    for name, shown in SHOWN.items():
        if name not in by_name:
            raise ValueError(f"there is no table {name!r} for {PAGE.name}; made of all parts there is one")
        one = by_name[name]
        rows = tuple(row for row, record in zip(one.rows, one.records(), strict=True) if shown(record))
        before, rest = _parted(text, f"<!-- {name} -->")
        _, after = _parted(rest, f"<!-- /{name} -->")
        text = f"{before}<!-- {name} -->\n\n{lines(replace(one, rows=rows))}\n\n<!-- /{name} -->{after}"
    return text


def lines(one: Table) -> str:
    """Returns the rows of a table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [one.columns, ("---",) * len(one.columns), *one.rows])


def write(tables: Iterable[Table], page: Path = PAGE) -> None:
    """Writes the tables into the page."""
    page.write_text(with_tables(page.read_text(encoding="utf-8"), tables), encoding="utf-8")


def _parted(text: str, mark: str) -> tuple[str, str]:
    """Returns what stands before and behind a comment that is there once."""
    before, *behind = text.split(mark)
    if len(behind) != 1:
        raise ValueError(f"{PAGE.name} has {mark} {len(behind)} times, not once")
    return before, behind[0]
