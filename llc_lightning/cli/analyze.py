"""The command ``analyze.py``: reads a run, finished or not, and says what it found.

It imports nothing heavy until it must, so that ``--help`` is there at once.
"""

import json
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llc_lightning.cli import calibrate, exact, stages
from llc_lightning.cli.files import write_text
from llc_lightning.cli.options import Options, common, probability, step, table_file
from llc_lightning.runtime.errors import LLCLightningError, StoreError, one_line

if TYPE_CHECKING:
    import pandas as pd

OK, FAILED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str], *, help_text: str = "") -> int:
    """Runs the command line and returns its exit code.

    0: done. 1: it cannot be done, for a reason that only shows when it is tried. 2: the command is wrong (by
    ``SystemExit``, as argparse does). 130: stopped by Ctrl-C.

    Args:
        argv: The arguments, without the program.
        help_text: What ``--help`` shows above the subcommands.
    """
    options = parser(help_text).parse_args(argv)
    try:
        options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python must not complain when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (LLCLightningError, OSError) as error:
        if options.debug:
            raise
        said = one_line(error)
        sys.stderr.write(f"error: {said}{'' if said.endswith('?') else '.'}\n")
        return FAILED
    return OK


def parser(help_text: str = "") -> Options:
    """Returns the parser of all subcommands."""
    top = Options(prog="analyze.py", description=help_text.strip() or __doc__)
    below = top.add_subparsers(required=True, metavar="COMMAND", dest="COMMAND")

    def command(name: str, does: str) -> Options:
        one = below.add_parser(name, help=does, description=does)
        one.set_defaults(command=globals()[name])
        one.add_argument("run", metavar="RUN", type=Path, help="folder of a run, such as checkpoints/cis/version_0")
        return one

    def level(one: Options) -> None:
        text = "probability of the intervals (default: 0.95)"
        one.add_argument("--level", type=probability, default=0.95, metavar="P", help=text)

    one = command("summary", "Say in one screen what a run found and how far to trust it.")
    level(one)
    one.add_argument("--out", type=Path, metavar="FILE", help="write there instead of printing")
    common(one)

    one = command("trajectories", "Show or write every quantity over training, with error bands.")
    one.add_argument("--quantities", nargs="+", metavar="NAME", help="such as llc, llc_plus_delta, ablation_effect")
    one.add_argument(
        "--component", default="*", metavar="GLOB", help="addresses, such as 'net.hook_hidden[7]' or 'net.*'"
    )
    one.add_argument("--methods", nargs="+", metavar="NAME", help="ablation methods, such as zero")
    one.add_argument(
        "--losses", nargs="+", default=["train"], metavar="GLOB", help="losses, such as 'circuit:*' (default: train)"
    )
    level(one)
    one.add_argument("--out", type=table_file, metavar="FILE", help="write all rows to a .csv, .parquet or .json file")
    common(one)

    one = command("report", "Write one HTML page with all figures and tables, which opens from disk.")
    one.add_argument("--control", type=Path, metavar="RUN2", help="a run to compare with")
    level(one)
    one.add_argument("--static", action="store_true", help="draw figures without hover and zoom: a smaller file")
    one.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: RUN/report.html)")
    common(one)

    one = command("measure", "Measure the snapshots of a run again or more, by the run's own settings or others.")
    one.add_argument("--steps", nargs="+", type=step, metavar="STEP", help="snapshots to measure (default: all)")
    one.add_argument("--only", nargs="+", metavar="KEY", help="such as llc, llc_units, ablation (default: all)")
    one.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over the run's settings, key by key")
    one.add_argument("--again", action="store_true", help="also measure what is measured already")
    one.add_argument("--out", type=Path, metavar="RUN2", help="write to this folder instead of the run's own")
    common(one)
    one = command("ablate", "Ablate components of a run's snapshots by any methods, and say how these agree.")
    one.add_argument("--components", nargs="+", default=["neurons"], metavar="SPEC", help="(default: neurons)")
    one.add_argument("--methods", nargs="+", default=["zero", "mean", "resample"], metavar="METHOD", help="such as "
                     "zero, optimal or 'noise(scale=0.5)' (default: zero mean resample)")  # fmt: skip
    one.add_argument("--metrics", nargs="+", default=[], metavar="METRIC", help="such as 'kl(output=net.hook_out)'")
    one.add_argument("--steps", nargs="+", type=step, metavar="STEP", help="snapshots to measure (default: the last)")
    one.add_argument("--examples", type=int, default=4096, metavar="N", help="examples to measure on (default: 4096)")
    one.add_argument("--figures", type=Path, metavar="FOLDER", help="write the figures there, as PNG")
    one.add_argument("--again", action="store_true", help="also measure what is measured already")
    one.add_argument("--out", type=Path, metavar="RUN2", help="write to this folder instead of the run's own")
    common(one)

    calibrate.add_to(below)
    exact.add_to(below)
    stages.add_to(below)
    return top


def ablate(options: Namespace) -> None:
    """Ablates, shows the largest effects, and says how the methods agree."""
    from llc_lightning.cli.ablate import ablate_run
    from llc_lightning.cli.console import Bars, rendered

    done = ablate_run(options, progress=Bars())
    then = f"python analyze.py report {_quoted(options.out or options.run)}"
    if options.json:
        _end(options, done.written, then, effects=done.records(), notes=done.notes)
        return
    sys.stdout.write(rendered(done.notes, done.tables))
    _end(options, done.written, then)


def summary(options: Namespace) -> None:
    """Says what a run found and how far to trust it."""
    from llc_lightning.cli.console import WIDE, rendered
    from llc_lightning.report import ledger, outcomes
    from llc_lightning.report.record import record
    from llc_lightning.report.sentences import headlines
    from llc_lightning.report.source import Source
    from llc_lightning.results.run import Run

    source = Source.of(Run.open(options.run), level=options.level)
    if options.json:
        text = json.dumps(record(source), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    else:
        found = source.found
        tables = [
            outcomes.verdict_table([found]),
            outcomes.task_table(found),
            outcomes.agreement_table(found),
            outcomes.residual_table(found, 5),
            ledger.other_table(found),
            ledger.settings_table(found),
            ledger.health_table(found),
            ledger.trouble_table(found),
        ]
        text = rendered(headlines(found, time=source.time), tables, width=WIDE if options.out else None)
    if options.out:
        write_text(options.out, text)
        _end(options, [options.out], f"python analyze.py report {_quoted(options.run)}")
        return
    sys.stdout.write(text)
    if not options.json:
        sys.stdout.write(f"\nnext: python analyze.py report {_quoted(options.run)}\n")


def trajectories(options: Namespace) -> None:
    """Shows or writes every quantity over training."""
    from llc_lightning.analysis.trajectories import trajectories as find
    from llc_lightning.cli.console import rendered
    from llc_lightning.report.overview import overview_table
    from llc_lightning.results.run import Run

    curves = find(
        Run.open(options.run).measurements(),
        quantities=options.quantities,
        component=options.component,
        methods=options.methods,
        losses=options.losses,
        level=options.level,
    )
    if options.out:
        _write_table(options.out, curves)
        _end(options, [options.out], f"python analyze.py report {_quoted(options.run)}")
    elif options.json:
        sys.stdout.write(curves.to_json(orient="records", double_precision=15) + "\n")
    else:
        sys.stdout.write(rendered([], [overview_table(curves)]))
        sys.stdout.write(f"\nnext: python analyze.py trajectories {_quoted(options.run)} --out trajectories.csv\n")


def report(options: Namespace) -> None:
    """Writes the page, and says what is at its top."""
    from llc_lightning.cli.console import rendered
    from llc_lightning.report.html import write_report
    from llc_lightning.report.sentences import headlines, verdict_sentence
    from llc_lightning.report.source import Source
    from llc_lightning.results.run import Run

    source = Source.of(Run.open(options.run), level=options.level)
    control = Source.of(Run.open(options.control), level=options.level) if options.control else None
    path = write_report(source, control=control, out=options.out, static=options.static)
    if not options.json:
        said = headlines(source.found, time=source.time)
        if control and control.found.verdict:
            said.insert(1, f"The control: {verdict_sentence(control.found.verdict)}")
        sys.stdout.write(rendered(said, []))
    _end(options, [path], f"open {_quoted(path)} in a browser, or type: tensorboard --logdir {_quoted(options.run)}")


def measure(options: Namespace) -> None:
    """Measures snapshots."""
    from llc_lightning.cli.console import Bars
    from llc_lightning.cli.offline import measure_run

    written = measure_run(
        options.run,
        steps=options.steps,
        only=options.only,
        config=options.config,
        again=options.again,
        out=options.out,
        progress=Bars(),
    )
    _end(options, list(written), f"python analyze.py report {_quoted(options.out or options.run)}")


def _end(options: Namespace, written: list[Path], then: str, **more: object) -> None:
    """Says what was written and what to type next; ``more`` stands in the JSON alone."""
    if options.json:
        record = {"written": [str(path) for path in written], **more, "next": then}
        sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")
        return
    few = [str(path) for path in written[:3]]
    rest = [f"and {len(written) - 3} more files"] if len(written) > 3 else []
    sys.stdout.write(
        f"wrote {', '.join([*few, *rest])}\n" if written else "nothing to do: all of it was there already\n"
    )
    sys.stdout.write(f"next: {then}\n")


def _write_table(path: Path, curves: "pd.DataFrame") -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            curves.to_parquet(path, index=False)
        elif path.suffix == ".json":
            path.write_text(curves.to_json(orient="records", double_precision=15), encoding="utf-8")
        else:
            curves.to_csv(path, index=False)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; choose another place with --out.") from error


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
