"""What measurements cost against what was forecast before: CPU seconds of one process.

    python -m benchmarks forecast                    three experiments of configs/, and a CNN on full batches
    python -m benchmarks forecast --only cis cnn     some of them

An experiment is trained for a few steps, and each of its measurements made once at the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn

from benchmarks.peers.peer import ROOT
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.cli.offline import plans_of, restored
from llc_lightning.measure.forecast import forecast
from llc_lightning.measure.measurements import Plan, measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.batches import n_examples
from llc_lightning.runtime.cadence import AtEnd

EXPERIMENTS = ("cis", "mnist_fashion", "induction")
FACTOR = 1.5
"""Within which the forecast is to be."""
_STEPS = 100


class ConvNet(L.LightningModule):
    """A convolutional net of 5,178 weights on images of 28 x 28 in 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 10),
        )  # fmt: skip

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the cross entropies."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1], reduction="none")


def convnet() -> Snapshot:
    """Returns the net, after a few hundred steps on 2,000 examples."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 1, 28, 28, generator=generator)
    y = x[:, 0, 4:24, 4:24].reshape(2000, 10, 40).sum(2).argmax(1)
    torch.manual_seed(0)
    module = ConvNet()
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(300):
        some = torch.randint(2000, (64,), generator=generator)
        optimizer.zero_grad()
        module.per_example_loss((x[some], y[some])).mean().backward()
        optimizer.step()
    return Snapshot.of(module, (x, y), run="cnn", seed=0, step=300, epoch=0)


def main(arguments: list[str]) -> int:
    """Prints the table; returns 1 where a forecast is off by more than the factor."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks forecast")
    parser.add_argument("--only", nargs="+", choices=[*EXPERIMENTS, "cnn"], default=[*EXPERIMENTS, "cnn"])
    given = parser.parse_args(arguments)
    print(f"\n## Forecast and real cost of one measurement, in CPU seconds (goal: within a factor of {FACTOR})")
    print(f"{'':32} {'forecast':>9} {'real':>9} {'ratio':>6} {'cost of the forecast':>21}")
    kept = True
    for name in given.only:
        for what, plan, snapshot in _cases(name):
            started = time.process_time()
            told = forecast(plan, snapshot, clock=time.process_time)
            cost = time.process_time() - started
            assert told is not None
            started = time.process_time()
            measure(plan, snapshot)
            real = time.process_time() - started
            ratio = told.seconds / real
            lighter = "" if told.with_minibatches is None else f"   with minibatches {told.with_minibatches:.1f}"
            print(
                f"{name + ' ' + what:32} {told.seconds:9.2f} {real:9.2f} {ratio:6.2f} {cost:21.2f}{lighter}", flush=True
            )
            kept &= 1 / FACTOR <= ratio <= FACTOR
    return 0 if kept else 1


def _cases(name: str) -> Iterator[tuple[str, Plan, Snapshot]]:
    if name == "cnn":
        for what, size in (("llc, full batch", None), ("llc, minibatches", 64)):
            chains = {"chains": 4, "draws": 100, "burn_in": 50}
            yield what, LLCCallback(AtEnd(), n_beta=300.0, gamma=100.0, batch_size=size, **chains).plan, convnet()
        return
    with tempfile.TemporaryDirectory() as folder:
        run = _trained(name, Path(folder))
        snapshot = restored(run)
        for key, plan in plans_of(run).items():
            yield key, plan.fitted(n_examples(snapshot.data)), snapshot


def _trained(name: str, folder: Path) -> Path:
    """Returns the folder of a run of an experiment, with one snapshot and nothing measured."""
    never = '{"class_path": "llc_lightning.AtSteps", "init_args": {"steps": [1000000000]}}'
    off = [word for key in ("llc", "llc_units", "ablation") for word in (f"--{key}.when", never)]
    command = [
        sys.executable,
        "train.py",
        "fit",
        "-c",
        f"configs/{name}.yaml",
        "--trainer.default_root_dir",
        str(folder),
    ]
    short = ["--trainer.max_steps", str(_STEPS), "--snapshots.when", "llc_lightning.AtEnd"]
    quiet = ["--trainer.enable_progress_bar", "false"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, *short, *quiet, *off], cwd=ROOT, env=environment, check=True, capture_output=True)
    return folder / name / "version_0"
