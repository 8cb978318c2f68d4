"""``analyze.py summary``: one screen about a run."""

import json
import sys
from argparse import Namespace
from pathlib import Path

from llc_lightning.cli.console import WIDE, analyze, end, following, rendered, write
from llc_lightning.cli.options import Options, common, level, run_folder

DOES = "Say in one screen what a run found and how far to trust it."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one)
    level(one)
    one.add_argument("--out", type=Path, metavar="FILE", help="write there instead of printing")
    common(one)


def run(options: Namespace) -> None:
    """Says what a run found and how far to trust it."""
    from llc_lightning.report import tables
    from llc_lightning.report.record import record
    from llc_lightning.report.source import Source
    from llc_lightning.results.run import Run

    source = Source.of(Run.open(options.run), level=options.level)
    if options.json:
        text = json.dumps(record(source), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    else:
        found = source.found
        shown = [
            tables.verdict_table([found]),
            tables.task_table(found),
            tables.agreement_table(found),
            tables.residual_table(found, 5),
            tables.other_table(found),
            tables.settings_table(found),
            tables.health_table(found),
            tables.trouble_table(found),
        ]
        text = rendered(source.said, shown, width=WIDE if options.out else None)
    then = analyze("report", options.run)
    if options.out:
        end(options, [write(options.out, text)], then)
    else:
        sys.stdout.write(text if options.json else f"{text}\n{following(then)}\n")
