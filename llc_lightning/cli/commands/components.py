"""``analyze.py components``: what can be addressed in a run's model, what is measured of it, and what not and why."""

import sys
from argparse import Namespace

from llc_lightning.cli.console import analyze, end, following, rendered
from llc_lightning.cli.options import Options, common, own_code, run_folder

DOES = "List the components of a run's model: kind, shape, weights, calls, and why one cannot be measured."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one)
    one.add_argument("--components", nargs="+", default=["all", "*"], metavar="SPEC", help="(default: all, and every "
                     "hook point)")  # fmt: skip
    own_code(one)
    common(one)


def run(options: Namespace) -> None:
    """Lists them."""
    from llc_lightning.cli.offline import model_and_examples
    from llc_lightning.cli.own import Own
    from llc_lightning.components.listing import find_components
    from llc_lightning.report.cells import Table

    model, data = model_and_examples(options.run, Own.of(options))
    found = find_components(model, options.components, explain=True, data=data)
    columns = ("component", "kind", "shape", "weights", "calls", "no ablation, since", "no LLC, since")
    rows = tuple(
        (
            *(each.component.address, each.component.kind),
            "" if each.shape is None else "x".join(map(str, each.shape)),
            *(str(each.weights or ""), "" if each.calls is None else str(each.calls), each.no_ablation, each.no_llc),
        )
        for each in found
    )
    note = "Shape: of one example's activation. Calls: how often the loss of a few examples calls it."
    if point := next((each.component.point for each in found if each.shape), ""):
        note += f" Units are addressed as {point}[0], {point}[0,1] or {point}[*]."
    table = Table("components", f"Components of {options.run}", columns, rows, note)
    then = analyze("ablate", options.run, *Own.of(options).words)
    if options.json:
        end(options, [], then, components=table.records())
        return
    sys.stdout.write(f"{rendered([], [table])}{following(then)}\n")
