"""``analyze.py posterior``: what the draws around the weights know of single examples, as a table and a picture."""

import json
import math
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from llc_lightning.cli.console import analyze, following, rendered, write
from llc_lightning.cli.options import Options, common, run_folder
from llc_lightning.runtime.errors import StoreError

DOES = "Show the loss kernel of watched examples, its clusters, and how components respond to examples."
PICTURE = "posterior.png"
_MOST = 20
_HARDEST = 8


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one, "checkpoints/cis/version_0")
    one.add_argument("--step", type=int, metavar="N", help="the snapshot (default: the last that was measured)")
    one.add_argument("--on", type=Path, metavar="FILE", help="of what `analyze.py measure --on FILE` has measured")
    one.add_argument("--out", type=Path, metavar="FILE", help=f"where to draw (default: RUN/{PICTURE})")
    common(one)


def run(options: Namespace) -> None:
    """Reads the arrays of a snapshot, tells what they hold, and draws them.

    Raises:
        StoreError: If the run has none, or none of that step.
    """
    import numpy as np

    from llc_lightning.analysis.kernel import clustering, response_to_ablation, self_influence
    from llc_lightning.report.cells import Table
    from llc_lightning.report.figures import save
    from llc_lightning.report.posterior import posterior_picture
    from llc_lightning.results.arrays import list_arrays, read_arrays
    from llc_lightning.results.run import Run

    opened = Run.open(options.run)
    parts = list_arrays(opened.folder)
    if not parts:
        raise StoreError(
            f"{opened.folder} holds no posterior structure; train with a PosteriorCallback (the key posterior), or add "
            "the key to the run's configuration and use `analyze.py measure`."
        )
    chosen = [part for part in parts if options.step is None or part.startswith(f"step={options.step:08d}-")]
    if not chosen:
        known = ", ".join(dict.fromkeys(str(int(part.split("-")[0].removeprefix("step="))) for part in parts))
        raise StoreError(f"{opened.folder} holds no posterior structure of step {options.step}; use one of: {known}.")
    name = options.on.name if options.on else ""
    found_in = (path for part, path in reversed(parts.items()) if part in chosen)
    path, arrays = next(
        ((path, each) for path in found_in if (each := read_arrays(path)).attrs.get("on", "") == name), (None, None)
    )
    if path is None or arrays is None:
        command = analyze("measure", opened.folder, "--on", options.on or "FILE")
        raise StoreError(f"{opened.folder} holds nothing that was measured on {name or 'its own examples'}: {command}.")
    if "kernel" not in arrays:
        raise StoreError(f"the chains of the whole model failed in {path.name}: {arrays['status'].values[0]}.")
    found = clustering(arrays)
    picture = posterior_picture(arrays, found)
    written = write(options.out or opened.folder / PICTURE, lambda path: save(picture, path))
    size, facts = arrays.sizes["example"], arrays.attrs
    told: dict[str, Any] = {
        "step": int(facts["step"]), "n_beta": float(facts["n_beta"]), "gamma": float(facts["gamma"]), "examples": size,
        "compared": found.compared, "tasks": list(found.names), "adjusted_rand": _finite(found.agreement),
        "status": str(arrays["status"].values[0]),
        "adjusted_rand_shuffled": _finite(found.shuffled), "neighbours": _finite(found.neighbours),
        "neighbours_shuffled": _finite(found.neighbours_shuffled), "written": str(written),
    }  # fmt: skip
    if options.json:
        sys.stdout.write(json.dumps(told) + "\n")
        return
    response = np.abs(np.asarray(arrays["susceptibility"].values, dtype=np.float64))
    errors = np.asarray(arrays["susceptibility_stderr"].values, dtype=np.float64)
    ablations = [str(name) for name in arrays["ablation"].values] if "ablation_effect" in arrays else []
    rows = [
        (
            str(name) or "all",
            f"{np.nanmean(np.square(response[i])) ** 0.5:.3g}",
            f"{np.nanmean(response[i] > 2 * errors[i]):.0%}",
            *(str(response_to_ablation(arrays, i, at) or "") for at in range(len(ablations))),
            str(arrays["status"].values[i]),
        )
        for i, name in enumerate(arrays["component"].values)
    ]
    against = tuple(f"rank correlation with {name}" for name in ablations)
    columns = ("component", "size of its response", "examples beyond 2 errors", *against, "status")
    shown = Table("response", "Response of components (root mean square susceptibility)", columns, tuple(rows[:_MOST]))
    value, stderr = self_influence(arrays)
    loss, tasks = np.asarray(arrays["loss"].values), dict(enumerate(found.names))
    named = {label: tasks[at] for at, label in enumerate(sorted(set(found.labels.tolist()) - {-1}))}
    hardest = tuple(
        (
            str(arrays["example"].values[i]),
            named.get(int(found.labels[i]), ""),
            f"{value[i]:.3g} ± {stderr[i]:.1g}",
            f"{loss[i]:.3g}",
        )
        for i in np.argsort(-value)[:_HARDEST]
    )
    of_examples = ("example", "task", "self-influence", "loss at the weights")
    hard = Table("hardest", "Examples that the posterior moves most", of_examples, hardest)
    sentences = [
        f"{opened.name} at step {told['step']}: {size} watched examples, n_beta {told['n_beta']:g}, "
        f"gamma {told['gamma']:g}",
        *([] if told["status"] == "ok" else [f"the kernel is not to be trusted yet: its chains are {told['status']}"]),
        _of_clusters(told),
    ]
    sys.stdout.write(rendered(sentences, [shown, hard]))
    sys.stdout.write(f"wrote {written}\n{following(analyze('report', options.run))}\n")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _of_clusters(told: dict[str, Any]) -> str:
    if told["adjusted_rand"] is None:
        return "the module tells no two tasks of these examples, so that clusters have nothing to be compared with"
    return (
        f"clusters of the loss kernel agree with {len(told['tasks'])} tasks to {told['adjusted_rand']:.2f} (adjusted "
        f"Rand index; {told['adjusted_rand_shuffled']:.2f} where tasks are shuffled) over {told['compared']} "
        f"different examples with one task; the nearest neighbour is of the same task for {told['neighbours']:.0%} "
        f"({told['neighbours_shuffled']:.0%} by chance)"
    )
