"""All cases by name."""

from __future__ import annotations

from fnmatch import fnmatch
from functools import cache

from benchmarks.truth import (
    catalogue,
    crossings,
    kinks,
    known_failures,
    linear_networks,
    minibatches,
    quadratics,
    valleys,
    wells,
)
from benchmarks.truth.case import Case

SOURCES = (catalogue, known_failures, quadratics, valleys, kinks, minibatches, crossings, linear_networks, wells)


@cache
def all_cases() -> dict[str, Case]:
    """Returns the cases of all groups, by ``group: name``."""
    return {f"{case.group}: {case.name}": case for source in SOURCES for case in source.cases()}


def chosen(patterns: list[str]) -> list[str]:
    """Returns the names that hold a pattern or match it, all for no pattern.

    Raises:
        SystemExit: If none does.
    """
    names = [name for name in all_cases() if not patterns or any(_matches(name, pattern) for pattern in patterns)]
    if not names:
        groups = ", ".join(sorted({case.group for case in all_cases().values()}))
        raise SystemExit(f"no case matches {' or '.join(patterns)}; the groups are: {groups}.")
    return names


def _matches(name: str, pattern: str) -> bool:
    return pattern in name or fnmatch(name, pattern)
