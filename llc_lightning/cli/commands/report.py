"""``analyze.py report``: one HTML page with everything."""

import sys
from argparse import Namespace
from pathlib import Path

from llc_lightning.cli.console import end, quoted, rendered
from llc_lightning.cli.options import Options, common, level
from llc_lightning.runtime.errors import SettingError

DOES = (
    "Write one HTML page with all figures and tables, which opens from disk; over several runs, one that compares them."
)


def add_options(one: Options) -> None:
    """Adds the command's options."""
    one.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folder of a run, such as checkpoints/cis/version_0; of "
        "several the page says what they answer together"
    )  # fmt: skip
    one.add_argument("--control", type=Path, metavar="RUN2", help="a run to compare with")
    level(one)
    one.add_argument("--static", action="store_true", help="draw figures without hover and zoom: a smaller file")
    one.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: RUN/report.html; of several "
                     "runs: report.html here)")  # fmt: skip
    one.add_argument("--export", type=Path, metavar="FOLDER", help="of several runs: also every figure as PNG and SVG "
                     "and every table as CSV")  # fmt: skip
    common(one)


def run(options: Namespace) -> None:
    """Writes the page, and says what is at its top.

    Raises:
        SettingError: If an option is given that is not for so many runs, or a run twice.
    """
    first, *others = options.runs
    if others:
        _over_runs(options)
        return
    if options.export:
        raise SettingError("--export is for several runs; of one, its figures are under Images in TensorBoard.")
    from llc_lightning.report.html import write_report
    from llc_lightning.report.sentences import verdict_sentences
    from llc_lightning.report.source import Source
    from llc_lightning.results.run import Run

    source = Source.of(Run.open(first), level=options.level)
    control = Source.of(Run.open(options.control), level=options.level) if options.control else None
    path = write_report(source, control=control, out=options.out, static=options.static)
    if not options.json:
        said = source.said()
        if control and control.found.verdict:
            said += [f"The control, {control.found.run}: {one}" for one in verdict_sentences(control.found.verdict)]
        sys.stdout.write(rendered(said, []))
    end(options, [path], f"open {quoted(path)} in a browser, or type: tensorboard --logdir {quoted(first)}")


def _over_runs(options: Namespace) -> None:
    """Writes the page over several runs.

    Raises:
        SettingError: If a control is given, or a run twice.
    """
    from llc_lightning.cli.over_runs import measurements_of
    from llc_lightning.report.over_runs import write_over_runs

    if options.control:
        raise SettingError("--control is for one run; give it as one more RUN.")
    if len({path.resolve() for path in options.runs}) < len(options.runs):
        raise SettingError(f"report got {', '.join(map(str, options.runs))}; give each run once.")
    runs, told = measurements_of(options.runs)
    out = options.out or Path("report.html")
    more = ["--level", options.level, *(["--static"] if options.static else []), "--out", quoted(out)]
    more += ["--export", quoted(options.export)] if options.export else []
    asked = " ".join(map(str, ["python analyze.py report", *map(quoted, options.runs), *more]))
    written, found = write_over_runs(
        runs, out, commands=[asked], told=told, level=options.level, static=options.static, export=options.export
    )
    if not options.json:
        sys.stdout.write(rendered([*told, *(f"{one.question} {one.verdict}" for one in found)], []))
    end(options, written, f"open {quoted(out)} in a browser")
