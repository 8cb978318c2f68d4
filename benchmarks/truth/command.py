"""The options of ``python -m benchmarks truth``, and what it prints and stores."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.truth import coverage, table
from benchmarks.truth.collection import chosen
from benchmarks.truth.estimates import ESTIMATORS, Row, columns, estimated, from_plain, to_plain

LENGTHS = ("chains", "burn_in", "draws")


def main(arguments: Sequence[str]) -> int:
    """Runs the cases and prints the tables; returns 1 where an estimate is silently wrong."""
    asked = _options(arguments)
    if asked.coverage is not None:
        return _coverage(asked)
    rows = _rows(asked)
    if asked.json is not None:
        store(asked.json, rows)
    print("\n".join(report(rows, every_case=not asked.short)))
    if asked.against is not None:
        print(f"\n## Against {asked.against}")
        print("\n".join(table.against(rows, load(asked.against))))
    return 1 if table.silent(rows) else 0


def _coverage(asked: argparse.Namespace) -> int:
    names = [name for name in coverage.CASES if not asked.only or name in chosen(asked.only)]
    print(coverage.HEAD)
    for found in coverage.coverages(names, sets=asked.coverage):
        print(found, flush=True)
    return 0


def report(rows: Sequence[Row], *, every_case: bool) -> list[str]:
    """Returns the lines of all tables."""
    lines = ["\n## Every case", table.HEAD, *table.of_cases(rows)] if every_case else []
    lines += ["\n## Groups", table.HEAD, *table.of_groups(rows)]
    lines += [f"\n## Reasons\n{'':24}{'right':>7}{'wrong':>7}", *table.reasons(rows)]
    refused, silent = table.refused(rows), table.silent(rows)
    if refused:
        lines.append(f"\n{refused} refused by the sampler, and in no column")
    removed = table.removals(rows)
    if removed:
        lines += ["\n## Change of the value as a unit is removed", *removed]
    return [*lines, f"\n## Silently wrong: {len(silent)} of {len(rows)}", *silent]


def store(path: Path, rows: Sequence[Row]) -> None:
    """Writes the rows, a line each."""
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in to_plain(rows))
    path.write_text(f'{{"columns":{json.dumps(columns())},\n"rows":[\n{lines}\n]}}\n', encoding="utf-8")


def load(path: Path) -> list[Row]:
    """Returns stored rows."""
    return from_plain(json.loads(path.read_text(encoding="utf-8"))["rows"])


def _rows(asked: argparse.Namespace) -> list[Row]:
    if asked.read is not None:
        return load(asked.read)
    rows: list[Row] = []
    settings = {name: getattr(asked, name) for name in LENGTHS if getattr(asked, name) is not None}
    for row in estimated(chosen(asked.only), asked.sampler, asked.seeds, jobs=asked.jobs, settings=settings):
        rows.append(row)
        if asked.json is not None and len(rows) % 100 == 0:
            store(asked.json, rows)
    return rows


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks truth", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="seeds of each case (default: 4)")
    parser.add_argument("--sampler", nargs="+", default=["lm"], choices=ESTIMATORS, help="default: lm")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PATTERN", help="cases that hold or match one of these"
    )
    for name in LENGTHS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help="in place of each case's own")
    parser.add_argument(
        "--coverage", type=int, nargs="?", const=coverage.SETS, metavar="SETS",
        help=f"how often the intervals of so many sets of chains hold the exact value (default: {coverage.SETS})",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--short", action="store_true", help="no line for each case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the estimates there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="print stored estimates in place of new ones")
    parser.add_argument("--against", type=Path, metavar="FILE", help="stored estimates to compare with")
    return parser.parse_args(arguments)
