"""``analyze.py circuit``: the most important connections of a run's snapshot."""

import sys
from argparse import Namespace
from pathlib import Path

from llc_lightning.cli.console import analyze, end, following, rendered
from llc_lightning.cli.options import Options, again, common, own_code, run_folder, step, whole

DOES = "Score the connections of a run's snapshot, and keep the most important ones as a circuit."
_ASKED = (
    *("method", "donor", "edges", "among", "metric", "joined", "neurons", "mask", "step", "examples"),
    *("module", "data"),
)
"""The options that say which circuit."""


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one, "checkpoints/induction/version_0")
    one.add_argument("--method", default="exact", metavar="METHOD", help="how to score edges, such as exact or "
                     "'eap_ig(steps=10)', or to find a circuit, such as acdc or 'greedy(edges=8)'; (default: "
                     "exact)")  # fmt: skip
    one.add_argument("--donor", default="resample", metavar="METHOD", help="what takes a sender's place, such as zero, "
                     "mean or counterfactual (default: resample)")  # fmt: skip
    one.add_argument("--edges", type=whole, metavar="N", help="edges of the circuit, by their scores (default: 10)")
    one.add_argument("--among", nargs="+", default=["*"], metavar="EDGE", help="edges to score, such as "
                     "'net.hook_embed -> *' (default: all)")  # fmt: skip
    one.add_argument("--metric", default="", metavar="METRIC", help="such as 'kl' (default: the loss)")
    one.add_argument("--joined", action="store_true", help="take the embeddings of token and position as one sender")
    one.add_argument("--neurons", action="store_true", help="take the neurons of MLPs apart")
    one.add_argument("--mask", default="", metavar="NAME", help="which positions count, as of ablate")
    one.add_argument("--step", type=step, metavar="STEP", help="snapshot to look into (default: the last)")
    one.add_argument("--examples", type=int, default=256, metavar="N", help="examples to measure on (default: 256)")
    one.add_argument("--out", type=Path, metavar="FILE", help="write the circuit to a .json file, its picture to an "
                     ".svg file, or a page to an .html file")  # fmt: skip
    one.add_argument("--over-steps", action="store_true", help="the circuit of every snapshot, with a slider, where "
                     "--out is an .html file")  # fmt: skip
    one.add_argument("--resamples", type=int, default=0, metavar="N", help="find it on examples drawn anew so often, "
                     "for the share of circuits that hold an edge, in pictures (default: 0)")  # fmt: skip
    own_code(one)
    common(one)


def run(options: Namespace) -> None:
    """Scores, and shows or writes the circuit."""
    from llc_lightning.cli.circuit import circuit_file, circuit_of_run, circuit_table, write_circuit

    path = circuit_file(options)
    if path is not None:
        write_circuit(options, path)
        end(options, [path], analyze("report", options.run))
        return
    circuit = circuit_of_run(options)
    if options.json:
        sys.stdout.write(circuit.to_json() + "\n")
    else:
        then = analyze("circuit", options.run, *again(options, *_ASKED), "--out", "circuit.json")
        sys.stdout.write(f"{rendered([], [circuit_table(circuit)])}\n{following(then)}\n")
