"""The command.

    python -m benchmarks under_ablation               all tables
    python -m benchmarks under_ablation removal --seeds 2

Prints every case beside what is asked of it, and ends with 1 where something is missed.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable

from benchmarks.under_ablation.closure import closure
from benchmarks.under_ablation.common import common
from benchmarks.under_ablation.removal import removal

TABLES: dict[str, Callable[[int], bool]] = {"removal": removal, "closure": closure, "common": common}


def main(arguments: list[str]) -> int:
    """Prints the tables with these names, or all; returns 1 where something is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks under_ablation")
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=20, help="of every size in the table `removal` (default: 20)")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    kept = [TABLES[name](given.seeds) for name in given.tables or TABLES]
    return 0 if all(kept) else 1
