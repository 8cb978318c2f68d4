"""``analyze.py compare``: runs side by side."""

import sys
from argparse import Namespace
from pathlib import Path

from llc_lightning.cli.console import analyze, following, make_folder, rendered
from llc_lightning.cli.options import Options, common, level
from llc_lightning.runtime.errors import SettingError

DOES = "Put runs side by side: settings that differ, where each ends with the differences, curves over each other."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    one.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of two runs or more; the first is the "
                     "one that others are compared with")  # fmt: skip
    level(one)
    one.add_argument("--out", type=Path, metavar="FOLDER", help="draw the curves over each other there")
    common(one)


def run(options: Namespace) -> None:
    """Compares runs.

    Raises:
        SettingError: If fewer than two are given, or one twice.
    """
    import json

    from llc_lightning.report.compare import differences, overlaid, settings_that_differ
    from llc_lightning.report.figures import draw, save
    from llc_lightning.report.source import Source
    from llc_lightning.results.run import Run

    if len(set(options.runs)) < max(2, len(options.runs)):
        raise SettingError(f"compare got {', '.join(map(str, options.runs))}; give two different runs or more.")
    sources = [Source.of(Run.open(path), level=options.level) for path in options.runs]
    tables = [one for one in (settings_that_differ(sources), differences(sources)) if one]
    written: list[Path] = []
    if options.out:
        folder = make_folder(options.out)
        written = [save(draw(panel), folder / f"{panel.name}.png") for panel in overlaid(sources)]
    if options.json:
        told = {one.name: one.records() for one in tables} | {"written": [str(path) for path in written]}
        sys.stdout.write(json.dumps(told) + "\n")
        return
    sys.stdout.write(rendered([], tables))
    sys.stdout.write("".join(f"wrote {path}\n" for path in written))
    sys.stdout.write(f"{following(analyze('report', options.runs[0]))}\n")
