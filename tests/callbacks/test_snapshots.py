"""Snapshots hold the weights of their step."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.results.run import Run
from llc_lightning.results.snapshots import load_snapshot
from llc_lightning.runtime.cadence import AtSteps
from tests.callbacks.plain import fit, trainer


class Keep(L.Callback):
    """Keeps the state of the module after every step."""

    def __init__(self) -> None:
        self.states: dict[int, dict[str, Tensor]] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        self.states[trainer.global_step] = {name: value.clone() for name, value in pl_module.state_dict().items()}


def test_a_snapshot_has_parameters_and_buffers_of_its_step(tmp_path: Path) -> None:
    keep = Keep()
    fit(trainer(tmp_path, [SnapshotCallback(AtSteps([2, 5])), keep], max_steps=6))
    paths = Run.open(tmp_path / "llc_lightning").snapshots
    assert list(paths) == [2, 5]
    for step, path in paths.items():
        tensors = load_snapshot(path)
        assert tensors.keys() == keep.states[step].keys()
        assert all(torch.equal(tensors[name], keep.states[step][name]) for name in tensors)


def test_the_first_is_there_before_anything_is_trained(tmp_path: Path) -> None:
    module = fit(trainer(tmp_path, [SnapshotCallback(AtSteps([0]))], max_steps=1))
    first = load_snapshot(Run.open(tmp_path / "llc_lightning").snapshots[0])
    fresh = type(module)()
    assert all(torch.equal(value, first[name]) for name, value in fresh.state_dict().items())
