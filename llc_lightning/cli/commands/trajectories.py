"""``analyze.py trajectories``: every quantity over training, with error bands."""

import sys
from argparse import Namespace

from llc_lightning.cli.console import analyze, end, following, rendered, write_table
from llc_lightning.cli.options import Options, common, level, run_folder, table_file

DOES = "Show or write every quantity over training, with error bands."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one)
    one.add_argument("--quantities", nargs="+", metavar="NAME", help="such as llc, llc_plus_delta, ablation_effect")
    one.add_argument(
        "--component", default="*", metavar="GLOB", help="addresses, such as 'net.hook_hidden[7]' or 'net.*'"
    )
    one.add_argument("--methods", nargs="+", metavar="NAME", help="ablation methods, such as zero")
    one.add_argument("--losses", nargs="+", metavar="GLOB", help="losses, such as 'circuit:*' (default: train)")
    level(one)
    one.add_argument("--out", type=table_file, metavar="FILE", help="write all rows to a .csv, .parquet or .json file")
    common(one)


def run(options: Namespace) -> None:
    """Shows or writes every quantity over training."""
    from llc_lightning.analysis.trajectories import trajectories
    from llc_lightning.report.tables import overview_table
    from llc_lightning.results.run import Run

    curves = trajectories(
        Run.open(options.run).measurements(),
        quantities=options.quantities,
        component=options.component,
        methods=options.methods,
        losses=options.losses,
        level=options.level,
    )
    if options.out:
        end(options, [write_table(options.out, curves)], analyze("report", options.run))
    elif options.json:
        sys.stdout.write(curves.to_json(orient="records", double_precision=15) + "\n")
    else:
        then = analyze("trajectories", options.run, "--out", "trajectories.csv")
        sys.stdout.write(f"{rendered([], [overview_table(curves)])}\n{following(then)}\n")
