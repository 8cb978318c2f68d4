"""Makes the study and prints what it says."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llc_lightning.analysis.across import Measurements
from llc_lightning.report.answers.every import answers
from llc_lightning.report.cells import Table
from llc_lightning.report.over_runs import asked_for, write_over_runs
from llc_lightning.runtime.errors import LLCLightningError
from study import findings
from study.beside import beside
from study.parts import PARTS, RUNS, SMOKE, TABLES, Part, PartFailed, matters, missing, older, table_of

TOLD_AGAIN = (
    "Again: the configuration and seeds of the net that is named before it, trained once more, maybe on another "
    "machine, to measure something else as well; this repeats the measurement, and is no further net or seed."
)


def main() -> int:
    """Runs ``run``, ``tables`` or ``findings``; 1 where a part failed."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    parser.add_argument("what", choices=["run", "tables", "findings"])
    parser.add_argument("--smoke", action="store_true", help="a few small nets, in a minute")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="such as cis-0, or a net: cis")
    parser.add_argument("--jobs", type=int, default=1, help="parts at once, in processes of their own")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where runs are kept")
    parser.add_argument("--tables", type=Path, default=TABLES, help="where tables are kept")
    parser.add_argument("--out", type=Path, metavar="FILE", help="with tables: also write them as a page")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="with --out: also figures and tables as files")
    given = parser.parse_args()
    if given.export and not given.out:
        parser.error("--export needs --out.")
    if given.what == "findings" and (given.only or given.smoke):
        parser.error("findings are written of all parts; leave --only and --smoke out.")
    parts = [
        one for one in (SMOKE if given.smoke else PARTS) if not given.only or {one.name, one.group} & {*given.only}
    ]
    if given.what == "run":
        return _run(missing(parts, given.tables), given)
    return _tables([one for one in parts if one not in missing(parts, given.tables)], given)


def _tables(parts: list[Part], given: argparse.Namespace) -> int:
    """Prints every verdict and table, in Markdown, and writes the page with ``--out``; or those of the findings."""
    runs = [Measurements(part.name, part.label, table_of(part, given.tables), matters(part)) for part in parts]
    if not runs:
        print(f"there are no tables in {given.tables}; make some with: python -m study run")
        return 1
    changed = [part.name for part in older(parts, given.tables)]
    if changed:
        print(f"Made by other settings than now, or before these were noted: {', '.join(changed)}.")
    found = answers(runs)
    if given.what == "findings":
        findings.write([*(table for one in found for table in one.tables), *beside(runs), asked_for(runs)])
        return 0
    for one in found:
        print(f"\n## {one.question}\n")
        print(
            "\n".join(
                f"- {sentence}" for sentence in (one.verdict, *one.details, f"What would change it: {one.change}")
            )
        )
        for each in one.tables:
            print(f"\n{markdown(each)}")
    for each in beside(runs):
        print(f"\n## {each.title}\n\n{markdown(each)}")
    again = [TOLD_AGAIN] if any(part.about for part in parts) else []
    print("\n".join([f"\n{markdown(asked_for(runs))}", *again]))
    if given.out:
        commands = ["python -m study run", f"python -m study tables --out {given.out}"]
        write_over_runs(runs, given.out, commands=commands, told=again, export=given.export)
    return 0


def markdown(one: Table) -> str:
    """Returns a table in Markdown, with its note."""
    return f"{findings.lines(one)}\n\n{one.note}"


def _run(parts: list[Part], given: argparse.Namespace) -> int:
    """Makes parts, and says of each how it ended."""
    failed = 0

    def made(part: Part) -> str:
        try:
            part.make(given.runs, given.tables)
        except (PartFailed, LLCLightningError) as error:
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
