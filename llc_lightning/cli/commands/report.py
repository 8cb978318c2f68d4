"""``analyze.py report``: one HTML page with everything."""

import sys
from argparse import Namespace
from pathlib import Path

from llc_lightning.cli.console import end, quoted, rendered
from llc_lightning.cli.options import Options, common, level, run_folder

DOES = "Write one HTML page with all figures and tables, which opens from disk."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one)
    one.add_argument("--control", type=Path, metavar="RUN2", help="a run to compare with")
    level(one)
    one.add_argument("--static", action="store_true", help="draw figures without hover and zoom: a smaller file")
    one.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: RUN/report.html)")
    common(one)


def run(options: Namespace) -> None:
    """Writes the page, and says what is at its top."""
    from llc_lightning.report.html import write_report
    from llc_lightning.report.sentences import verdict_sentences
    from llc_lightning.report.source import Source
    from llc_lightning.results.run import Run

    source = Source.of(Run.open(options.run), level=options.level)
    control = Source.of(Run.open(options.control), level=options.level) if options.control else None
    path = write_report(source, control=control, out=options.out, static=options.static)
    if not options.json:
        said = [*source.said]
        if control and control.found.verdict:
            said += [f"The control, {control.found.run}: {one}" for one in verdict_sentences(control.found.verdict)]
        sys.stdout.write(rendered(said, []))
    end(options, [path], f"open {quoted(path)} in a browser, or type: tensorboard --logdir {quoted(options.run)}")
