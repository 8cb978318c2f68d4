"""The rows as tables: of each case, of each group, in all, and beside an earlier run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from statistics import median
from typing import TypeVar

from benchmarks.truth.collection import all_cases
from benchmarks.truth.estimates import REFUSED, Row, Verdict
from benchmarks.truth.linear_networks import GROUP, REMOVED

K = TypeVar("K")

_WIDTH = 56
_WORDS = (
    ("right", "flagged", "flagged", "SILENT", "90 %", "right", "stderr", "CPU"),
    ("", "right", "wrong", "", "holds", "is ok", "(median)", "s"),
)
_WIDTHS = (6, 8, 8, 7, 6, 6, 9, 7)
HEAD = "\n".join(
    " " * _WIDTH + "".join(f"{word:>{width}}" for word, width in zip(words, _WIDTHS, strict=True)) for words in _WORDS
)


def counts(name: str, rows: Sequence[Row]) -> str:
    """Returns a line of the table: what came of the rows, and how many intervals of those that read ok hold."""
    verdicts = Counter(row.verdict for row in rows)
    ok = [row for row in rows if row.ok]
    stderrs = [row.stderr for row in rows if math.isfinite(row.stderr)]
    return (
        f"{name[: _WIDTH - 1]:{_WIDTH}}{verdicts[Verdict.RIGHT]:6}{verdicts[Verdict.FALSE_ALARM]:8}"
        f"{verdicts[Verdict.ALARM]:8}{verdicts[Verdict.SILENT]:7}"
        f"{_percent([row.covered for row in ok]):>6}{_percent(said_ok(rows)):>6}"
        f"{f'{median(stderrs):.3g}' if stderrs else '-':>9}{sum(row.seconds for row in rows):7.1f}"
    )


def said_ok(rows: Iterable[Row]) -> list[bool]:
    """Says of the right rows whether they read ok, without those whose reasons hold by their definition."""
    return [row.ok for row in rows if not row.wrong and not set(row.status.split("+")) & all_cases()[row.case].holds]


def of_cases(rows: Sequence[Row]) -> list[str]:
    """Returns a line for each case and sampler, with its exact value, the mean value and its reasons."""
    lines: list[str] = []
    for (name, sampler), found in _grouped(rows, lambda row: (row.case, row.sampler)):
        values = [row.value for row in found if math.isfinite(row.value)]
        mean = f"{sum(values) / len(values):.4g}" if values else "-"
        reasons = Counter(reason for row in found for reason in row.status.split("+"))
        told = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
        lines.append(f"{counts(f'{name} [{sampler}]', found)}  {mean:>9} for {found[0].exact:<9.4g} {told}")
    return lines


def of_groups(rows: Sequence[Row]) -> list[str]:
    """Returns a line for each group and sampler, and for all; those out of reach stand apart."""
    lines: list[str] = []
    rows = [row for row in rows if row.verdict is not Verdict.REFUSED]
    reached = [row for row in rows if not all_cases()[row.case].out_of_reach]
    for sampler, by_sampler in _grouped(reached, lambda row: row.sampler):
        for group, found in _grouped(by_sampler, lambda row: all_cases()[row.case].group):
            lines.append(counts(f"{group} [{sampler}]", found))
        lines.append(counts(f"ALL [{sampler}]", by_sampler))
    beyond = [row for row in rows if all_cases()[row.case].out_of_reach]
    if beyond:
        lines.append(counts("(out of reach of any chain)", beyond))
    return lines


def reasons(rows: Iterable[Row]) -> list[str]:
    """Returns how often each reason was given to a right and to a wrong value."""
    right, wrong = Counter[str](), Counter[str]()
    for row in rows:
        if row.verdict is Verdict.REFUSED:
            continue
        (wrong if row.wrong else right).update(row.status.split("+"))
    names = sorted(right | wrong, key=lambda name: -(right[name] + wrong[name]))
    return [f"{name:24}{right[name]:7}{wrong[name]:7}" for name in names]


def against(rows: Sequence[Row], earlier: Sequence[Row]) -> list[str]:
    """Returns what changed since an earlier run, of the rows that both have and some chain can see."""
    before = {row.key: row for row in earlier}
    pairs = [(before[row.key], row) for row in rows if row.key in before and not all_cases()[row.case].out_of_reach]
    newly = [new for old, new in pairs if new.verdict is Verdict.SILENT and not old.ok]
    still = [new for old, new in pairs if new.verdict is Verdict.SILENT and old.ok]
    alarms = [new for old, new in pairs if old.verdict is Verdict.RIGHT and not new.ok]
    mended = [new for old, new in pairs if old.verdict is Verdict.SILENT and new.verdict is not Verdict.SILENT]
    grown = [new.stderr / old.stderr for old, new in pairs if not old.wrong and old.stderr > 0 and new.stderr > 0]
    seconds = [sum(row.seconds for row in side) for side in zip(*pairs, strict=True)] if pairs else [math.nan] * 2
    return [
        f"{len(pairs)} estimates that both have",
        f"flagged before, now SILENT: {len(newly)}",
        *(f"    {_told(row)}" for row in newly),
        f"ok before and now, and SILENT now: {len(still)}",
        f"SILENT before, not now: {len(mended)}",
        f"right and ok before, flagged now: {len(alarms)}",
        *(f"    {_told(row)}" for row in alarms),
        f"right and ok: {_percent(said_ok(old for old, _ in pairs))} of the right before, "
        f"{_percent(said_ok(new for _, new in pairs))} now",
        f"standard error of what was right before: x {median(grown):.3f} (median)" if grown else "nothing was right",
        f"CPU seconds: {seconds[0]:.1f} before, {seconds[1]:.1f} now",
    ]


def removals(rows: Iterable[Row]) -> list[str]:
    """Returns a line for each pair of linear networks, with and without a unit, and how often the change is right."""
    found = {row.key: row for row in rows}
    lines: list[str] = []
    for whole, less in REMOVED:
        pairs = [
            (row, found[f"{GROUP}: {less}", *row.key[1:]])
            for row in found.values()
            if row.case == f"{GROUP}: {whole}" and (f"{GROUP}: {less}", *row.key[1:]) in found
        ]
        if pairs:
            lines.append(f"{f'{whole} less {less}':32}{_change(pairs)}")
    return lines


def _change(pairs: Sequence[tuple[Row, Row]]) -> str:
    exact = pairs[0][0].exact - pairs[0][1].exact
    changes = [one.value - other.value for one, other in pairs]
    errors = [math.hypot(one.stderr, other.stderr, one.error, other.error) for one, other in pairs]
    kept = [abs(change - exact) <= 2 * error for change, error in zip(changes, errors, strict=True)]
    return (
        f"{sum(changes) / len(changes):7.3f} +- {median(errors):.3f} each for {exact:.3f}, within 2 errors {sum(kept)} "
        f"of {len(kept)}"
    )


def silent(rows: Iterable[Row]) -> list[str]:
    """Returns a line for each silent error that some chain could have seen."""
    return [_told(row) for row in rows if row.verdict is Verdict.SILENT and not all_cases()[row.case].out_of_reach]


def refused(rows: Iterable[Row]) -> int:
    """Returns how many estimates a sampler refused."""
    return sum(row.status == REFUSED for row in rows)


def _told(row: Row) -> str:
    return (
        f"{row.case} [{row.sampler}], seed {row.seed}: {row.value:.4g} +- {row.stderr:.2g} for {row.exact:.4g}, "
        f"{row.status}"
    )


def _percent(flags: Sequence[bool]) -> str:
    return f"{sum(flags) / len(flags):.0%}" if flags else "-"


def _grouped(rows: Iterable[Row], key: Callable[[Row], K]) -> Iterable[tuple[K, list[Row]]]:
    order: dict[K, int] = {}
    for row in rows:
        order.setdefault(key(row), len(order))
    ranked = sorted(rows, key=lambda row: order[key(row)])
    return [(value, list(found)) for value, found in groupby(ranked, key)]
