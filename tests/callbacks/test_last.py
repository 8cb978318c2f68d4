"""``last.ckpt`` is up to date."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.folder import LAST
from llc_lightning.callbacks.last import LastCheckpoint
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.runtime.cadence import AtSteps, Every
from llc_lightning.runtime.errors import SettingError
from tests.callbacks.plain import examples, fit, trainer


class Watch(L.Callback):
    """Notes the step of ``last.ckpt`` before every batch and at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[int] = []

    def on_train_batch_start(self, *args: Any) -> None:
        self.seen.append(torch.load(self.path, weights_only=True)["global_step"])


def test_it_is_written_at_first_after_measuring_in_between_and_at_last(tmp_path: Path) -> None:
    path = tmp_path / "llc_lightning" / LAST
    watch = Watch(path)
    callbacks = [watch, SnapshotCallback(AtSteps([3])), LastCheckpoint(every_n_steps=4)]
    fit(trainer(tmp_path, callbacks, enable_checkpointing=True, max_steps=9))
    assert watch.seen == [0, 0, 0, 3, 3, 3, 3, 7, 7]
    assert torch.load(path, weights_only=True)["global_step"] == 9


def test_it_is_not_written_between_parts_of_a_step(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "llc_lightning" / LAST)
    settings: dict[str, Any] = {"enable_checkpointing": True, "accumulate_grad_batches": 3, "max_steps": 3}
    fit(trainer(tmp_path, [watch, LastCheckpoint(every_n_steps=1)], **settings))
    assert watch.seen == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("others", [[LastCheckpoint(every_n_steps=1)], []], ids=["kept", "not kept"])
def test_it_is_not_written_there_after_a_validation_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: list[L.Callback]
) -> None:
    saved: list[int] = []

    def note(trainer: L.Trainer) -> None:
        loop: Any = trainer.fit_loop
        saved.append(loop.epoch_loop.batch_progress.current.ready)

    for module in ("last", "stop"):
        monkeypatch.setattr(f"llc_lightning.callbacks.{module}.save_last", note)
    measuring = AblationCallback(Every(1), methods=["zero"], components="layers", data=examples(16), at="validation")
    settings: dict[str, Any] = {"accumulate_grad_batches": 2, "val_check_interval": 3, "max_steps": 7}
    settings["enable_checkpointing"] = bool(others)
    fit(trainer(tmp_path, [measuring, *others], **settings))
    assert 6 in saved
    assert not {3, 9} & set(saved)


@pytest.mark.parametrize("others", [[LastCheckpoint(every_n_steps=100)], []], ids=["kept", "not kept"])
def test_it_is_written_after_the_validations_that_are_measured_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: list[L.Callback]
) -> None:
    saved: list[int] = []
    for module in ("last", "stop"):
        monkeypatch.setattr(
            f"llc_lightning.callbacks.{module}.save_last", lambda trainer: saved.append(trainer.global_step)
        )
    measuring = AblationCallback(
        AtSteps([4]), methods=["zero"], components="layers", data=examples(16), at="validation"
    )
    settings: dict[str, Any] = {"val_check_interval": 2, "max_steps": 10, "enable_checkpointing": bool(others)}
    fit(trainer(tmp_path, [measuring, *others], **settings))
    assert saved == ([0, 4, 5, 10] if others else [4])


def test_lightning_adds_no_checkpoints_of_its_own(tmp_path: Path) -> None:
    fit(trainer(tmp_path, [LastCheckpoint()], enable_checkpointing=True, max_steps=2))
    assert [path.name for path in tmp_path.rglob("*.ckpt")] == [LAST]


def test_settings_are_checked() -> None:
    with pytest.raises(SettingError, match=r"every_n_steps is 0; give an integer of at least 1\."):
        LastCheckpoint(every_n_steps=0)
