"""The LLC engine against plain training and both lines of devinterp: speed, memory, spread and restrictions.

``python -m benchmarks llc`` prints all tables, ``python -m benchmarks llc spread`` one of them.
"""

from __future__ import annotations

from benchmarks import llc_estimates, llc_memory, llc_restrictions, llc_steps, llc_variance

TABLES = {
    "steps": llc_steps.main,
    "estimates": llc_estimates.main,
    "memory": llc_memory.main,
    "spread": llc_variance.main,
    "restrictions": llc_restrictions.main,
}
"""What prints each table, and says whether its goals are kept."""


def main(names: list[str]) -> int:
    """Prints the tables with these names, or all; returns 1 where a goal is missed.

    Raises:
        SystemExit: If there is no such table.
    """
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise SystemExit(f"unknown table {unknown[0]!r}; use one of: {', '.join(TABLES)}.")
    kept = [TABLES[name]() for name in names or TABLES]
    return 0 if all(kept) else 1
