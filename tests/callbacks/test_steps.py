"""A step is of one set of weights, and cadences cover the whole training, however its optimizers step."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging
from torch import Tensor

from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.runtime.cadence import AtStart, Every, LogSpaced
from llc_lightning.runtime.errors import SettingError
from tests.callbacks.test_cadenced import Recorder
from tests.callbacks.test_frame import Small, fit, measuring


class Manual(Small):
    """Steps its optimizers itself: how many of them Lightning counts, and every how many batches each steps."""

    automatic_optimization = False

    def __init__(self, *every: int, own: str = "") -> None:
        super().__init__()
        self.automatic_optimization = False
        self.every = every
        self.mine = torch.optim.SGD(self.parameters(), lr=0.05)
        self.own = own

    def training_step(self, batch: Any, batch_idx: int) -> None:
        found: Any = self.optimizers(use_pl_optimizer=True) if self.every else []
        self.zero_grad()
        self.manual_backward(self.per_example_loss(batch).mean())
        for every, optimizer in zip(self.every, found if isinstance(found, list) else [found], strict=True):
            if (batch_idx + 1) % every == 0:
                optimizer.step()
        if self.own == "optimizer":
            self.mine.step()
        if self.own == "by hand":
            for parameter in self.parameters():
                parameter.data.add_(parameter.grad, alpha=-0.05)

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.parameters(), lr=0.01) for _ in self.every]


def steps(when: Any, folder: Path, module: L.LightningModule, **settings: Any) -> list[int]:
    recorder = Recorder(when)
    fit(folder, [recorder, *settings.pop("more", [])], module, **settings)
    return [step for step, _, _ in recorder.acted]


@pytest.mark.parametrize("own", ["optimizer", "by hand"])
@pytest.mark.parametrize("every", [(), (4,)])
def test_steps_that_lightning_does_not_count_are_refused(tmp_path: Path, own: str, every: tuple[int, ...]) -> None:
    seen = Recorder(Every(steps=1))
    with pytest.raises(SettingError, match=r"left Lightning's global_step at 0.*return every optimizer"):
        fit(tmp_path, [measuring(Every(steps=1)), SnapshotCallback(AtStart()), seen], Manual(*every, own=own))
    assert not seen.acted


def test_where_errors_are_skipped_it_is_told_and_trained_on(tmp_path: Path) -> None:
    ours = measuring(Every(steps=1, at_start=True), on_error="skip")
    with pytest.warns(UserWarning, match="rows of one step would be of different weights"):
        fit(tmp_path, [ours], Manual(own="optimizer"), max_epochs=1)


@pytest.mark.parametrize("every", [(1,), (1, 1), (2,), (1, 4), (4, 4)])
def test_steps_that_it_counts_cover_the_training(tmp_path: Path, every: tuple[int, ...]) -> None:
    last = sum(12 // each for each in every)
    acted = steps(LogSpaced(3, at_end=False), tmp_path, Manual(*every))
    assert acted[-1] == last
    assert len(acted) > 1


def test_an_accumulation_that_changes_is_counted(tmp_path: Path) -> None:
    schedule = GradientAccumulationScheduler({0: 1, 1: 2, 2: 4})
    assert steps(LogSpaced(3, at_end=False), tmp_path, Small(), more=[schedule]) == [1, 3, 7]


def test_the_epoch_that_swa_appends_has_no_steps(tmp_path: Path) -> None:
    swa = StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1)
    assert steps(LogSpaced(3, at_end=False), tmp_path, Small(norm=True), more=[swa]) == [1, 3, 12]


@pytest.mark.parametrize("settings", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 4}])
def test_validations_that_never_come_are_told(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="measures after validations .*this training has none"):
        fit(tmp_path, [Recorder(Every(steps=1), at="validation")], **settings)


def test_without_a_validation_loader_it_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="give it a validation loader"):
        fit(tmp_path, [Recorder(Every(steps=1), at="validation")], validation=[])


def test_weights_without_numbers_move_nothing(tmp_path: Path) -> None:
    class Lost(Manual):
        def per_example_loss(self, batch: Any) -> Tensor:
            return super().per_example_loss(batch) * math.nan

    assert steps(Every(steps=6), tmp_path, Lost(2)) == [6]
