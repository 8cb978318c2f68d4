"""What test_stopping.py runs: trainings that get a signal at every kind of moment, and go on; prints what came of it.

In a process of its own, since the checks of annotations that tests switch on draw random numbers themselves.

Usage: python stopping_script.py FOLDER
"""

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import lightning as L
import torch
from torch import Tensor, nn

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.folder import LAST
from llc_lightning.callbacks.last import LastCheckpoint
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.callbacks.resume import ExactResume
from llc_lightning.runtime.cadence import AnyOf, Every
from llc_lightning.runtime.signals import Stopped
from tests.callbacks.plain import Digests, PlainModule, examples, fit, trainer

SHORT: dict[str, Any] = {
    "n_beta": 100.0,
    "gamma": 100.0,
    "chains": 2,
    "draws": 2,
    "burn_in": 1,
    "batch_size": 16,
    "preconditioner": "none",
    "step_size": 1e-5,
}
ALONE = "in a measurement after a validation, without a callback that keeps last.ckpt"
MOMENTS: dict[str, tuple[str, int]] = {
    "before the first step": ("on_train_start", 0),
    "in a batch": ("on_before_zero_grad", 3),
    "between parts of a step": ("on_train_batch_start", 4),
    "when a batch ends": ("on_train_batch_end", 4),
    "in a measurement": ("measuring", 4),
    "in a validation": ("on_validation_batch_start", 6),
    "after a validation": ("on_train_batch_start", 3),
    "in a measurement after a validation": ("measuring", 3),
    ALONE: ("measuring", 3),
    "at the end of an epoch": ("on_train_epoch_end", 6),
    "in the last measurement": ("measuring", 12),
}


class Sends(L.Callback):
    """Sends this process a signal, once."""

    def __init__(self, hook: str, step: int, number: signal.Signals) -> None:
        self.step, self.number = step, number
        if hook != "measuring":
            setattr(self, hook, self._hook)

    def _hook(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            self.step = -1
            signal.raise_signal(self.number)


class Measured(PlainModule):
    """As small as can be, with dropout; gets the signal while its loss is measured."""

    sends: Sends | None = None

    def __init__(self) -> None:
        super().__init__()
        del self.conv, self.norm
        self.out = nn.Linear(36, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape).sin() / 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(x.flatten(1)))

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        one = self.sends
        if one is not None and not self.training and len(batch[0]) > 8:
            one._hook(self.trainer)
        return super().per_example_loss(batch)


def train(folder: Path, sends: Sends | None = None, measuring: bool = False, *, keeps: bool = True) -> int:
    """Trains, or goes on, and returns the code that the process would end with."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = Digests(folder / "digests")
    common: dict[str, Any] = {"data": examples(48)}
    callbacks: list[L.Callback] = [
        *([sends] if sends is not None and not measuring else []),
        LLCCallback(AnyOf([Every(steps=4, at_start=True, at_end=True), Every(epochs=1)]), **SHORT, **common),
        AblationCallback(Every(steps=3), methods="zero", components="out", at="validation", **common),
        ExactResume(),
        *([LastCheckpoint()] if keeps else []),
        digests,
    ]
    module = Measured()
    module.sends = sends if measuring else None
    how: dict[str, Any] = {"accumulate_grad_batches": 2, "val_check_interval": 6, "max_epochs": 2}
    last = folder / "llc_lightning" / LAST
    try:
        fit(
            trainer(folder, callbacks, enable_checkpointing=keeps, **how),
            module=module,
            ckpt_path=last if last.is_file() else None,
        )
    except Stopped as stop:
        return int(stop.code or 0)
    return -1


def left(folder: Path) -> dict[str, Any]:
    """Returns what a training has left: its rows, traces, weights and optimizer."""
    run = folder / "llc_lightning"
    files = [path for kind in ("measurements", "traces") for path in sorted((run / kind).iterdir())]
    last = torch.load(run / LAST, weights_only=True)
    state = {name: str(last[name]) for name in ("state_dict", "optimizer_states", "loops", "global_step")}
    return {**{path.name: path.read_bytes().hex() for path in files}, **state}


def main(folder: Path) -> None:
    """Trains once without and then with a signal at every moment."""
    whole = folder / "whole" / "run"
    train(whole)
    expected, lines = left(whole), (whole / "digests").read_text().splitlines()
    told: dict[str, Any] = {}
    for name, (hook, step) in MOMENTS.items():
        here = folder / name / "run"
        number = signal.SIGINT if name == "in a batch" else signal.SIGTERM
        code = train(here, Sends(hook, step, number), hook == "measuring", keeps=name != ALONE)
        stopped = (here / "digests").read_text().splitlines() if (here / "digests").is_file() else []
        at = torch.load(here / "llc_lightning" / LAST, weights_only=True)["global_step"]
        again = train(here)
        everything = (here / "digests").read_text().splitlines()
        found = left(here)
        told[name] = {
            "code": code,
            "stopped at": int(stopped[-1].split()[0]) if stopped else 0,
            "saved at": at,
            "then": again,
            "digests": everything[: len(stopped)] == lines[: len(stopped)] and set(everything) == set(lines),
            "differs": sorted(key for key in expected.keys() | found if expected.get(key) != found.get(key)),
            "folders": sorted(path.name for path in here.iterdir() if path.is_dir()),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
