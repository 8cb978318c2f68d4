"""``analyze.py ablate``: any methods on any components of a run's snapshots."""

import sys
from argparse import Namespace
from pathlib import Path

from llc_lightning.cli.console import Bars, analyze, end, rendered
from llc_lightning.cli.options import Options, common, own_code, run_folder, step

DOES = "Ablate components of a run's snapshots by any methods, and say how these agree."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one)
    one.add_argument("--components", nargs="+", default=["neurons"], metavar="SPEC", help="(default: neurons)")
    one.add_argument("--methods", nargs="+", default=["zero", "mean", "resample"], metavar="METHOD", help="such as "
                     "zero, optimal or 'noise(scale=0.5)' (default: zero mean resample)")  # fmt: skip
    one.add_argument("--metrics", nargs="+", default=[], metavar="METRIC", help="such as 'kl(output=net.hook_out)'")
    one.add_argument("--mask", default="", metavar="NAME", help="entry of the examples that tells which positions "
                     "count, such as 'labels!=-100' (default: by the model's mask(batch), else all)")  # fmt: skip
    one.add_argument("--steps", nargs="+", type=step, metavar="STEP", help="snapshots to measure (default: the last)")
    one.add_argument("--examples", type=int, default=4096, metavar="N", help="examples to measure on (default: 4096)")
    one.add_argument("--figures", type=Path, metavar="FOLDER", help="write the figures there, as PNG")
    own_code(one)
    one.add_argument("--again", action="store_true", help="also measure what is measured already")
    one.add_argument("--out", type=Path, metavar="RUN2", help="write to this folder instead of the run's own")
    common(one)


def run(options: Namespace) -> None:
    """Ablates, shows the largest effects, and says how the methods agree."""
    from llc_lightning.cli.ablate import ablate_run

    done = ablate_run(options, progress=Bars())
    then = analyze("report", options.out or options.run)
    if options.json:
        end(options, done.written, then, effects=done.records(), notes=done.notes)
        return
    sys.stdout.write(rendered(done.notes, done.tables))
    end(options, done.written, then)
