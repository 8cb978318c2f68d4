"""``analyze.py stages``: the stages of a training, and whether the learning coefficient was sampled around them."""

import json
import sys
from argparse import Namespace
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from llc_lightning.cli.console import analyze, following, rendered, write
from llc_lightning.cli.options import Options, common, run_folder
from llc_lightning.runtime.errors import StoreError

DOES = "Find the stages of a training from its logged metrics, draw them, and say which lie between sampled steps."
PICTURE = "stages.png"
OWN = ("ablation", "analysis/", "flagged/", "health/", "llc")
"""How the names begin under which measured values are logged."""
METRICS = ("loss", "val_loss", "accuracy", "val_accuracy")


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one, "checkpoints/induction/version_0")
    for what in METRICS:
        told = what.replace("val_", "validation ")
        one.add_argument(f"--{what}", metavar="METRIC", help=f"the name under which the {told} was logged")
    one.add_argument("--out", type=Path, metavar="FILE", help=f"where to draw (default: RUN/{PICTURE})")
    common(one)


def run(options: Namespace) -> None:
    """Finds, draws and tells the stages of a run."""
    from llc_lightning.analysis.stages import named, stages
    from llc_lightning.analysis.table import loss_unit
    from llc_lightning.report.cells import Table
    from llc_lightning.report.events import read_events
    from llc_lightning.report.figures import draw, save
    from llc_lightning.report.panels.stages import sampled, staged
    from llc_lightning.results.run import Run

    opened = Run.open(options.run)
    logged = read_events(opened.folder).metrics
    if not logged:
        raise StoreError(f"{opened.folder} holds no logged metrics; train with a TensorBoard logger, as train.py does")
    metrics = named(logged, {what: getattr(options, what) for what in METRICS})
    found = stages(metrics)
    rows = opened.measurements()
    marked, what = sampled(rows), "LLC samples"
    if not marked:
        # Where the learning coefficient can still be sampled.
        marked, what = dict.fromkeys(opened.snapshots, True), "snapshots"
    panel = staged(metrics, found, marked, what=what, unit=loss_unit(rows))
    picture = panel and draw(panel, size=(9.0, 4.8))
    written = [write(options.out or opened.folder / PICTURE, lambda path: save(picture, path))] if picture else []
    sides = [one.sides(marked) for one in found]
    if options.json:
        told = [asdict(one) | {"before": a, "after": b} for one, (a, b) in zip(found, sides, strict=True)]
        sys.stdout.write(json.dumps({"stages": told, "of": what, "written": [str(one) for one in written]}) + "\n")
        return
    cells = tuple(
        (one.name, one.metric, f"{one.level:.4g}", one.when, str(before), str(after))
        for one, (before, after) in zip(found, sides, strict=True)
    )
    columns = ("stage", "metric", "passes", "between steps", f"{what} before", "after")
    alone = [one.name for one, (before, after) in zip(found, sides, strict=True) if not (before and after)]
    sentences = [
        f"{opened.name} shows {_counted(len(found))}",
        *([] if found else [_looked_for(logged)]),
        *([f"{what} fall on one side only of: {', '.join(alone)}"] if alone else []),
        *([f"{what} fall on both sides of every stage"] if found and not alone else []),
    ]
    sys.stdout.write(rendered(sentences, [Table("stages", "Stages", columns, cells)] if cells else []))
    sys.stdout.write("".join(f"wrote {one}\n" for one in written))
    sys.stdout.write(f"{following(analyze('report', options.run))}\n")


def _looked_for(logged: Collection[str]) -> str:
    """Says which names are looked for, and what there is."""
    from llc_lightning.analysis.stages import NAMES

    looked = ", ".join(f"{what.replace('_', ' ')} as {' or '.join(NAMES[what])}" for what in METRICS)
    options = ", ".join(f"--{what}" for what in METRICS)
    others = sorted(name for name in logged if not name.startswith(OWN))
    return f"looked for {looked}; logged are {', '.join(others) or 'no others'}: name yours with {options}"


def _counted(stages: int) -> str:
    return {0: "no stage: nothing passes a level", 1: "1 stage"}.get(stages, f"{stages} stages")
