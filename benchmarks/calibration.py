"""Calibration at the trained weights of every architecture: what is chosen, how well it holds, or why it is refused.

``python -m benchmarks calibration`` prints the whole table, ``python -m benchmarks calibration cis icl`` some rows.
What is not trained yet below checkpoints/calibration is trained first, as its configuration says.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

from llc_lightning.cli.offline import restored
from llc_lightning.cli.versions import newest_version
from llc_lightning.llc.calibrate.calibration import calibrate
from llc_lightning.llc.calibrate.checks import ESS, RHAT
from llc_lightning.llc.calibrate.search import Calibration
from llc_lightning.llc.diagnostics.not_local import LOCAL_DISTANCE

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "checkpoints" / "calibration"
ARCHITECTURES = {
    "cis": "ReLU net, xor, L4",
    "cis_mse": "ReLU net, xor, L2",
    "cis_emb": "ReLU net, embedded",
    "mnist_fashion": "image MLP",
    "mnist_fashion_cnn": "image CNN",
    "modular_mlp": "token MLP",
    "modular_addition": "transformer 1 layer",
    "induction": "attention, 2 layers",
    "ioi": "transformer 2 layers",
    "icl": "transformer, regression",
    "shakespeare": "transformer, text",
}
"""By the name of the configuration."""


@dataclass(frozen=True)
class Row:
    """A calibration, the weights that there are, and its CPU seconds."""

    name: str
    weights: int
    found: Calibration
    seconds: float


def main(names: list[str]) -> int:
    """Prints the table; returns 1 where something could not be trained.

    Raises:
        SystemExit: If there is no such configuration.
    """
    unknown = [name for name in names if name not in ARCHITECTURES]
    if unknown:
        raise SystemExit(f"unknown configuration {unknown[0]!r}; use one of: {', '.join(ARCHITECTURES)}.")
    print("\n## Calibration at the trained weights, with the defaults of `analyze.py calibrate`")
    print(
        f"wanted: R-hat < {RHAT}, ESS >= {ESS:.0f}, distance / norm of the weights <= {LOCAL_DISTANCE}, changes <= 5 %"
    )
    first = f"{'configuration':18}{'architecture':24}{'weights':>8}{'steps of budget':>16}{'CPU s':>7}{'step size':>10}"
    print(
        f"{first}{'gamma':>9}{'n_beta':>10}{'LLC':>8}{'+-':>7}{'R-hat':>7}{'ESS':>6}{'distance':>9}{'eps/2':>7}{'2T':>7}"
        "  verdict"
    )
    runs = {name: trained(name) for name in names or ARCHITECTURES}
    for name, folder in runs.items():
        if folder is not None:
            row = calibrated(name, folder)
            print(line(row), flush=True)
            if row.found.refusal:
                print(f"    {row.found.refusal}", flush=True)
    return 0 if all(runs.values()) else 1


def calibrated(name: str, folder: Path) -> Row:
    """Calibrates at the last snapshot of a run."""
    at = restored(folder)
    started = time.process_time()
    found = calibrate(at.loss, at.params, at.data, trivial_loss=at.trivial_loss, seed=at.seed)
    return Row(name, found.record.dimension, found, time.process_time() - started)


def line(row: Row) -> str:
    """Returns the row as the table has it."""
    found, record = row.found, row.found.record
    values = {check.name: check.value for check in found.checks}
    changes = [values.get(f"change at {name}", nan) for name in ("half step", "twice as long")]
    half, twice = ("-" if isnan(change) else f"{change:.1%}" for change in changes)
    return (
        f"{row.name:18}{ARCHITECTURES[row.name]:24}{row.weights:8}{f'{found.steps} / {found.budget}':>16}"
        f"{row.seconds:7.0f}{record.step_size:10.2g}{record.gamma:9.3g}{record.n_beta:10.4g}{record.value:8.4g}"
        f"{record.stderr:7.2g}{record.rhat:7.3f}{record.ess:6.0f}{values['locality']:9.2f}"
        f"{half:>7}{twice:>7}  {'accepted' if found.accepted else 'refused'}"
    )


def trained(name: str) -> Path | None:
    """Returns the newest run of a configuration, which is trained if there is none; None where that fails."""
    experiment = RUNS / name
    if not experiment.is_dir():
        command = [
            *(sys.executable, "train.py", "fit", "-c", f"configs/{name}.yaml"),
            *("-c", "configs/overlays/no_measuring.yaml", "--experiment", name),
            *("--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(RUNS)),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name:18}not trained: {(done.stderr.strip().splitlines() or ['no message'])[-1]}", flush=True)
            return None
    return experiment / f"version_{newest_version(experiment)}"
