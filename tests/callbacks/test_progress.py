"""Measurements show how far they are beside whichever bar the training has."""

import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from llc_lightning.callbacks.progress import RichTasks, TQDMTasks, progress_of
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.runtime.cadence import AtStart
from llc_lightning.runtime.progress import NoProgress
from tests.callbacks.plain import fit, trainer


class Second(L.Trainer):
    """Not the process that shows anything."""

    @property
    def is_global_zero(self) -> bool:
        return False


def trainer_with(bar: L.Callback | None, kind: type[L.Trainer] = L.Trainer) -> L.Trainer:
    callbacks = [] if bar is None else [bar]
    return kind(accelerator="cpu", logger=False, enable_progress_bar=bar is not None, callbacks=callbacks)


def test_the_bar_of_the_trainer_decides() -> None:
    assert isinstance(progress_of(trainer_with(RichProgressBar())), RichTasks)
    assert isinstance(progress_of(trainer_with(TQDMProgressBar())), TQDMTasks)
    assert isinstance(progress_of(trainer_with(None)), NoProgress)
    assert isinstance(progress_of(trainer_with(RichProgressBar(refresh_rate=0))), NoProgress)
    assert isinstance(progress_of(trainer_with(RichProgressBar(), Second)), NoProgress)


class Measuring(L.Callback):
    """Shows a task of three units at the start and in the middle of a training, and looks at it."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, float, float]] = []
        self.left: list[str] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        with progress_of(trainer).task("measuring", 3) as advance:
            advance()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        bar = trainer.progress_bar_callback
        with progress_of(trainer).task("measuring", 3) as advance:
            time.sleep(0.15)  # as long as tqdm waits before it draws again
            advance(2, "2/3 chains")
            if isinstance(bar, RichProgressBar) and bar.progress is not None:
                last = bar.progress.tasks[-1]
                self.shown.append((last.description, last.completed, last.total or 0))
        if isinstance(bar, RichProgressBar) and bar.progress is not None:
            self.left = [task.description.strip() for task in bar.progress.tasks if "measuring" in task.description]


def test_rich_shows_a_task_with_its_own_line_and_takes_it_away(tmp_path: Path) -> None:
    measuring = Measuring()
    fit(trainer(tmp_path, [measuring, RichProgressBar()], enable_progress_bar=True, max_steps=2))
    assert measuring.shown == [("measuring 2/3 chains", 2, 3)] * 2
    assert measuring.left == []


@pytest.mark.parametrize(("limits", "said"), [({"max_epochs": -1, "max_steps": 13}, "Epoch 1, from step 12 of 13"),
                                              ({"max_epochs": 2}, "Epoch 1/1")])  # fmt: skip
def test_a_training_without_a_last_epoch_says_its_steps(tmp_path: Path, limits: dict[str, int], said: str) -> None:
    class Reading(L.Callback):
        said = ""

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
            bar = trainer.progress_bar_callback
            assert isinstance(bar, RichProgressBar)
            assert bar.progress is not None
            self.said = bar.progress.tasks[0].description

    reading = Reading()
    fit(
        trainer(tmp_path, [reading, RichProgressBar(), SnapshotCallback(AtStart())], enable_progress_bar=True, **limits)
    )
    assert said in reading.said


def test_tqdm_shows_a_bar_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(trainer(tmp_path, [Measuring(), TQDMProgressBar()], enable_progress_bar=True, max_steps=2))
    out, _ = capsys.readouterr()
    assert "measuring:" in out
    assert "2/3 chains" in out


def test_a_task_is_closed_when_the_measurement_fails(tmp_path: Path) -> None:
    class Failing(L.Callback):
        tasks = -1

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
            bar = trainer.progress_bar_callback
            assert isinstance(bar, RichProgressBar)
            assert bar.progress is not None
            before = len(bar.progress.tasks)
            with pytest.raises(FloatingPointError), progress_of(trainer).task("measuring", 3):
                raise FloatingPointError
            self.tasks = len(bar.progress.tasks) - before

    failing = Failing()
    fit(trainer(tmp_path, [failing, RichProgressBar()], enable_progress_bar=True, max_steps=1))
    assert failing.tasks == 0
