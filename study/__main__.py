"""Makes the study and prints what it says."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from study.parts import PARTS, RUNS, SMOKE, TABLES, Part, PartFailed, missing


def main() -> int:
    """Runs ``run`` or ``tables``; 1 where a part failed."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    parser.add_argument("what", choices=["run", "tables"])
    parser.add_argument("--smoke", action="store_true", help="a few small nets, in a minute")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="such as cis-0, or a net: cis")
    parser.add_argument("--jobs", type=int, default=1, help="parts at once, in processes of their own")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where runs are kept")
    parser.add_argument("--tables", type=Path, default=TABLES, help="where tables are kept")
    given = parser.parse_args()
    parts = [one for one in (SMOKE if given.smoke else PARTS) if not given.only or {one.name, one.net} & {*given.only}]
    if given.what == "run":
        return _run(missing(parts, given.tables), given)
    raise NotImplementedError


def _run(parts: list[Part], given: argparse.Namespace) -> int:
    """Makes parts, and says of each how it ended."""
    failed = 0

    def made(part: Part) -> str:
        try:
            part.make(given.runs, given.tables)
        except PartFailed as error:
            return f"failed: {error}"
        return f"kept {part.name}"

    print(f"{len(parts)} parts to make", flush=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        for told in pool.map(made, parts):
            failed += told.startswith("failed")
            print(told, flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
