"""``analyze.py patch``: activation patching, causal tracing and path patching on a run's snapshot."""

import sys
from argparse import Namespace

from llc_lightning.cli.console import analyze, end, following, rendered, write_table
from llc_lightning.cli.options import Options, again, common, own_code, run_folder, step, table_file, whole

DOES = "Patch activations of other examples into a run's snapshot, or clean ones into corrupted examples."
_ASKED = (
    *("components", "inputs", "restore", "window", "sender", "receivers", "frozen", "metrics", "mask", "step"),
    *("examples", "module", "data"),
)
"""The options that say which patches."""


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one)
    one.add_argument("--components", nargs="+", default=["layers"], metavar="SPEC", help="(default: layers)")
    one.add_argument("--inputs", nargs="+", metavar="NAME", help="entries of the examples that donors bring, others "
                     "stay (default: the first of several)")  # fmt: skip
    one.add_argument("--restore", action="store_true", help="put clean activations into runs on the donors")
    one.add_argument("--window", type=whole, metavar="N", help="causal tracing: restore so many components around each")
    one.add_argument("--sender", metavar="SPEC", help="path patching: whose message is exchanged")
    one.add_argument("--receivers", nargs="+", default=[], metavar="SPEC", help="path patching: who hears it")
    one.add_argument("--frozen", nargs="+", default=[], metavar="SPEC", help="path patching: what stays clean")
    one.add_argument("--metrics", nargs="+", default=[], metavar="METRIC", help="such as 'kl(output=net.hook_out)'")
    one.add_argument("--mask", default="", metavar="NAME", help="which positions count, as of ablate")
    one.add_argument("--step", type=step, metavar="STEP", help="snapshot to patch (default: the last)")
    one.add_argument("--examples", type=int, default=1024, metavar="N", help="examples to measure on (default: 1024)")
    one.add_argument("--out", type=table_file, metavar="FILE", help="write all rows to a .csv, .parquet or .json file")
    own_code(one)
    common(one)


def run(options: Namespace) -> None:
    """Patches, and shows or writes what that does."""
    from llc_lightning.cli.patch import patch_run, patch_table

    found = patch_run(options)
    if options.out:
        end(options, [write_table(options.out, found)], analyze("report", options.run))
    elif options.json:
        sys.stdout.write(found.to_json(orient="records", double_precision=15) + "\n")
    else:
        then = analyze("patch", options.run, *again(options, *_ASKED), "--out", "patches.csv")
        sys.stdout.write(f"{rendered([], [patch_table(found)])}\n{following(then)}\n")
