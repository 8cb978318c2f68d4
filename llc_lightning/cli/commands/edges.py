"""``analyze.py edges``: when each connection enters the circuit and leaves it, as a table and as pictures."""

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from llc_lightning.cli.console import analyze, end, following, rendered, write
from llc_lightning.cli.options import Options, common, level, run_folder
from llc_lightning.runtime.errors import SettingError, StoreError

DOES = "Tell when each connection enters a run's circuit and leaves it, beside the transition of its LLC, and draw it."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one, "checkpoints/induction/version_0")
    one.add_argument("--quantity", default="edge_effect", metavar="NAME", help="edge_effect, edge_score, or "
                     "edge_share, the share of circuits that hold an edge (default: edge_effect)")  # fmt: skip
    one.add_argument("--method", metavar="METHOD", help="how edges were measured, such as exact:resample (default: the "
                     "only way there is)")  # fmt: skip
    one.add_argument("--loss", metavar="LOSS", help="on which loss (default: the only one there is)")
    one.add_argument("--least", type=float, metavar="X", help="the size from which on an edge is in the circuit "
                     "(default: .1, of a share .5)")  # fmt: skip
    level(one)
    one.add_argument("--out", type=Path, metavar="FILE", help="write a page with a slider over the steps to an .html "
                     "file, or the last step to an .svg file")  # fmt: skip
    common(one)


def run(options: Namespace) -> None:
    """Tells when edges enter and leave, or draws them.

    Raises:
        SettingError: If the file is of no sort that is written.
        StoreError: If no edge was measured.
    """
    from llc_lightning.analysis.edges import QUANTITIES, edge_lives, edge_rows, llc_transitions
    from llc_lightning.analysis.table import full_llc, select
    from llc_lightning.report.edges import drawing_of_rows, lives_table
    from llc_lightning.results.run import Run

    path: Path | None = options.out
    if path is not None and path.suffix not in {".svg", ".html"}:
        raise SettingError(f"--out is {path}; give a file that ends in .svg or .html.")
    opened = Run.open(options.run)
    rows = opened.measurements()
    asked = {"quantity": options.quantity, "method": options.method, "loss": options.loss}
    lives = edge_lives(rows, **asked, least=options.least, level=options.level)
    found = edge_rows(rows, **asked)
    if not len(found):
        raise StoreError(
            f"{opened.folder} holds no {options.quantity}; train with a CircuitCallback (the key circuit), or add the "
            "key to the run's configuration; `analyze.py measure` then measures it, as what a budget has left out."
        )
    transitions = llc_transitions(rows, level=options.level)
    if path is not None:
        least = options.least or QUANTITIES[options.quantity]
        shares = select(rows, quantity=("edge_share", "circuit_resamples"))
        one_way = shares if options.quantity != "edge_share" and shares["method"].nunique() == 1 else None
        drawn = drawing_of_rows(found, full_llc(rows), least, one_way)
        title = f"Circuit of {opened.name} over training"
        text = drawn.svg(drawn.frames[-1]) if path.suffix == ".svg" else drawn.page(title)
        end(options, [write(path, text)], analyze("report", options.run))
    elif options.json:
        told = [
            {"n_beta": n_beta, "gamma": gamma, "transition": None if one is None else asdict(one)}
            for (n_beta, gamma), one in transitions.items()
        ]
        sys.stdout.write(json.dumps({"edges": [asdict(one) for one in lives], "llc": told}) + "\n")
    else:
        then = analyze("edges", options.run, "--out", "edges.html")
        sys.stdout.write(f"{rendered([], [lives_table(lives, transitions, level=options.level)])}\n{following(then)}\n")
