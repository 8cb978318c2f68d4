"""Rows of averaged weights say so, whatever the order of the callbacks; and what a training leaves is its own."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, StochasticWeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.frame import After, Before
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.callbacks.stop import StopAtSignal
from llc_lightning.results.run import Run
from llc_lightning.results.snapshots import load_snapshot
from llc_lightning.runtime.cadence import AtEnd, Cadence, Every, LogSpaced
from tests.callbacks.plain import trainer

X = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))


class Small(L.LightningModule):
    """One hidden layer, with batch norm where asked for; four steps an epoch."""

    def __init__(self, lr: float = 0.05, norm: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.up, self.norm, self.out = nn.Linear(3, 4), nn.BatchNorm1d(4) if norm else nn.Identity(), nn.Linear(4, 1)
        self.lr = lr
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.5, generator=generator)

    def per_example_loss(self, batch: Any) -> Tensor:
        (x,) = batch
        return (self.out(self.norm(self.up(x)).relu())[:, 0] - x[:, 0]).square()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.per_example_loss(batch).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val", self.per_example_loss(batch).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class OwnAverage(L.Callback):
    """An average as users write it: in the module while it validates, and when the training has ended."""

    def __init__(self) -> None:
        self.average: list[Tensor] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        self.average = self.average or [one.detach().clone() for one in pl_module.parameters()]
        for mean, one in zip(self.average, pl_module.parameters(), strict=True):
            mean.lerp_(one.detach(), 0.2)

    def swap(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for mean, one in zip(self.average, pl_module.parameters(), strict=False):
            one.data, mean.data = mean.data.clone(), one.data.clone()

    on_validation_start = on_validation_end = on_train_end = swap


class Kept(L.Callback):
    """Keeps the loss of the weights that the optimizer has left, by step."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        self.losses.setdefault(trainer.global_step, loss_of(pl_module))


def loss_of(module: L.LightningModule) -> float:
    was, module.training = module.training, False
    module.eval()
    with torch.no_grad():
        loss = float(module.per_example_loss((X,)).mean())
    module.train(was)
    return loss


def data() -> DataLoader[Any]:
    return DataLoader(TensorDataset(X), batch_size=16)


def measuring(when: Cadence | None = None, **settings: Any) -> AblationCallback:
    given = {"methods": "zero", "components": "up[0]", "data": (X,), **settings}
    return AblationCallback(when or Every(steps=4), **given)


def fit(
    folder: Path,
    callbacks: list[L.Callback],
    module: L.LightningModule | None = None,
    validation: Any = None,
    **settings: Any,
) -> Any:
    """Trains with validations, and returns the module."""
    module = module or Small()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
        warnings.filterwarnings("ignore", ".*(lr_scheduler.step|no `val_dataloader`)", category=UserWarning)
        loader = data() if validation is None else validation
        trainer(folder, callbacks, **{"max_epochs": 3, **settings}).fit(module, data(), loader)
    return module


def losses(folder: Path) -> dict[tuple[int, str], float]:
    """Returns the measured losses by step and weights."""
    rows = Run.open(folder / "llc_lightning").measurements()
    rows = rows[rows["quantity"] == "loss"]
    return dict(zip(zip(rows["step"], rows["weights"], strict=True), rows["value"], strict=True))


AVERAGES: dict[str, Callable[[], L.Callback]] = {
    "ema": lambda: EMAWeightAveraging(decay=0.8),
    "swa": lambda: StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1),
    "own": OwnAverage,
}


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("first", [True, False])
def test_raw_weights_are_measured_while_training_and_averaged_ones_beside_them_at_the_end(
    tmp_path: Path, name: str, first: bool
) -> None:
    kept, ours = Kept(), measuring(LogSpaced(2))
    callbacks = [ours, AVERAGES[name]()] if first else [AVERAGES[name](), ours]
    module = fit(tmp_path, [kept, *callbacks])
    found = losses(tmp_path)
    assert list(found) == [(1, "raw"), (12, "averaged"), (12, "raw")]
    assert found[1, "raw"] == pytest.approx(kept.losses[1], rel=1e-5)
    assert found[12, "raw"] == pytest.approx(kept.losses[12], rel=1e-5)
    assert found[12, "averaged"] == pytest.approx(loss_of(module), rel=1e-5)
    assert abs(found[12, "averaged"] - found[12, "raw"]) > 1e-3


@pytest.mark.parametrize("name", ["ema", "own"])
@pytest.mark.parametrize("first", [True, False])
def test_after_a_validation_the_weights_are_raw(tmp_path: Path, name: str, first: bool) -> None:
    kept, ours = Kept(), measuring(Every(steps=1), at="validation")
    callbacks = [ours, AVERAGES[name]()] if first else [AVERAGES[name](), ours]
    fit(tmp_path, [kept, *callbacks], val_check_interval=2)
    found = losses(tmp_path)
    assert list(found) == [(step, "raw") for step in (2, 4, 6, 8, 10, 12)], "without at_end no averaged ones"
    assert all(value == pytest.approx(kept.losses[step], rel=1e-5) for (step, _), value in found.items())


def test_swa_with_batch_norm_replaces_the_weights_an_epoch_before_the_end(tmp_path: Path) -> None:
    kept = Kept()
    ours = [measuring(AtEnd()), measuring(LogSpaced(3), name="more"), measuring(Every(epochs=4), name="late")]
    module = fit(tmp_path, [kept, AVERAGES["swa"](), *ours], module=Small(norm=True))
    found = losses(tmp_path)
    assert list(found) == [(1, "raw"), (3, "raw"), (12, "averaged"), (12, "raw")]
    assert found[12, "raw"] == pytest.approx(kept.losses[12], rel=1e-5)
    assert found[12, "averaged"] == pytest.approx(loss_of(module), rel=1e-5)


def test_without_averaging_there_are_raw_rows_alone(tmp_path: Path) -> None:
    module = fit(tmp_path, [measuring(AtEnd()), SnapshotCallback(AtEnd())])
    assert losses(tmp_path) == {(12, "raw"): pytest.approx(loss_of(module), rel=1e-5)}


def test_snapshots_are_of_the_weights_that_are_trained(tmp_path: Path) -> None:
    kept = Kept()
    fit(tmp_path, [AVERAGES["own"](), SnapshotCallback(AtEnd()), kept])
    module = Small()
    module.load_state_dict(load_snapshot(Run.open(tmp_path / "llc_lightning").snapshots[12]))
    assert loss_of(module) == pytest.approx(kept.losses[12], rel=1e-5)


def test_the_frame_is_put_once_and_checkpoints_stay_behind_it(tmp_path: Path) -> None:
    twice = trainer(
        tmp_path,
        [measuring(), ModelCheckpoint(tmp_path), SnapshotCallback(AtEnd())],
        max_steps=1,
        enable_checkpointing=True,
    )
    twice.callbacks = list(twice.callbacks)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
        for _ in range(2):
            twice.fit(Small(), data())
    kinds = [type(callback) for callback in twice.callbacks]
    assert kinds[0] is Before
    assert kinds[-3:] == [After, ModelCheckpoint, StopAtSignal]
    assert (kinds.count(Before), kinds.count(After)) == (1, 1)
