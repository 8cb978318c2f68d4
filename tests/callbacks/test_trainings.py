"""Two trainings never share a table, and a training that goes back to an earlier step leaves its rows aside."""

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger

from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.results.run import Run
from llc_lightning.results.training import ABANDONED
from llc_lightning.runtime.cadence import AtSteps, Every
from llc_lightning.runtime.errors import MeasurementError
from tests.callbacks.plain import trainer
from tests.callbacks.test_frame import Small, data, measuring


class WithoutFolders(DummyLogger):
    """A logger with one folder for all runs, as those of W&B, MLflow and Comet are."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def save_dir(self) -> str:
        return str(self.folder)


def train(folder: Path, *, lr: float = 0.05, every: int = 2, ckpt: Path | None = None, **settings: Any) -> L.Trainer:
    """Trains 8 steps, with a checkpoint after every second."""
    keep = ModelCheckpoint(folder / f"lr={lr}", filename="{step}", every_n_train_steps=2, save_top_k=-1)
    callbacks = [measuring(Every(steps=every)), SnapshotCallback(AtSteps([4, 8])), keep]
    given = {"logger": False, "max_epochs": 2, "enable_checkpointing": True, **settings}
    made = trainer(folder, callbacks, **given)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
        made.fit(Small(lr), data(), data(), ckpt_path=None if ckpt is None else str(ckpt))
    return made


def checkpoint(folder: Path, step: int, lr: float = 0.05) -> Path:
    return folder / f"lr={lr}" / f"step={step}.ckpt"


def losses(folder: Path) -> dict[int, float]:
    rows = Run.open(folder).measurements()
    rows = rows[rows["quantity"] == "loss"]
    assert len(set(rows["run"])) == 1
    return dict(zip(rows["step"], rows["value"], strict=True))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[float, dict[int, float]]:
    """The losses of trainings that have a folder for themselves, by learning rate."""
    folders = {lr: tmp_path_factory.mktemp("alone") for lr in (0.05, 0.4)}
    for lr, folder in folders.items():
        train(folder, lr=lr, every=2 if lr == 0.05 else 3)
    return {lr: losses(folder / "llc_lightning") for lr, folder in folders.items()}


@pytest.mark.parametrize("how", ["none", "without folders", "one version"])
def test_a_second_training_gets_a_folder_of_its_own(tmp_path: Path, how: str, alone: Any) -> None:
    def logger() -> Any:
        own = {"without folders": WithoutFolders, "one version": lambda at: CSVLogger(at, name="", version="")}
        return own[how](tmp_path / "llc_lightning") if how in own else False

    train(tmp_path, logger=logger())
    with pytest.warns(UserWarning, match=r"llc_lightning holds another training; this one is kept in .*version_1"):
        train(tmp_path, lr=0.4, every=3, logger=logger())
    assert losses(tmp_path / "llc_lightning") == alone[0.05]
    assert losses(tmp_path / "llc_lightning" / "version_1") == alone[0.4]
    with pytest.warns(UserWarning, match="version_2"):
        train(tmp_path, logger=logger())
    assert list(Run.open(tmp_path / "llc_lightning" / "version_2").snapshots) == [4, 8]


def test_rows_of_nobody_are_of_another_training(tmp_path: Path, alone: Any) -> None:
    train(tmp_path)
    (tmp_path / "llc_lightning" / "training").unlink()
    with pytest.warns(UserWarning, match="version_1"):
        train(tmp_path, lr=0.4, every=3)
    assert losses(tmp_path / "llc_lightning") == alone[0.05]


def test_a_training_continues_in_its_own_folder(tmp_path: Path, alone: Any) -> None:
    train(tmp_path)
    with pytest.warns(UserWarning, match="version_1"):
        train(tmp_path, lr=0.4, every=3, max_epochs=1)
    with pytest.warns(UserWarning, match="version_1"):
        train(tmp_path, lr=0.4, every=3, ckpt=checkpoint(tmp_path, 4, 0.4))
    assert losses(tmp_path / "llc_lightning") == alone[0.05]
    assert losses(tmp_path / "llc_lightning" / "version_1") == alone[0.4]


def test_a_fork_sets_the_rows_of_the_other_way_aside(tmp_path: Path, alone: Any) -> None:
    train(tmp_path)
    folder = tmp_path / "llc_lightning"
    whole = losses(folder)
    again = train(tmp_path, every=3, ckpt=checkpoint(tmp_path, 4), max_steps=7)
    assert again.global_step == 7
    assert losses(folder) == {2: whole[2], 4: whole[4], 6: whole[6]}, "6 is a multiple of both; 8 is of the other way"
    assert list(Run.open(folder).snapshots) == [4]
    (aside,) = (folder / ABANDONED).iterdir()
    assert aside.name == "1-after-step=00000004"
    kept = sorted(path.relative_to(aside).as_posix() for path in aside.rglob("step=*"))
    assert [name[: len("measurements/step=00000006")] for name in kept if name.startswith("measurements")] == [
        f"measurements/step=0000000{step}" for step in (6, 8)
    ]
    assert "snapshots/step=00000008.safetensors" in kept
    train(tmp_path, ckpt=checkpoint(tmp_path, 2), max_steps=3)
    assert losses(folder) == {2: whole[2]}
    assert sorted(path.name[0] for path in (folder / ABANDONED).iterdir()) == ["1", "2"]


def test_the_branch_that_was_left_does_not_come_back_into_the_table(tmp_path: Path, alone: Any) -> None:
    train(tmp_path)
    train(tmp_path, lr=0.4, ckpt=checkpoint(tmp_path, 4))
    with pytest.raises(
        MeasurementError, match=r"the checkpoint of step 8 is of a branch that this training left .* step 4: .*"
    ):
        train(tmp_path, ckpt=checkpoint(tmp_path, 8), max_epochs=3)
    train(tmp_path, lr=0.4, ckpt=checkpoint(tmp_path, 8, 0.4), max_epochs=3)
    assert max(losses(tmp_path / "llc_lightning")) > 8


def test_a_fit_goes_on_where_the_trainer_has_stopped(tmp_path: Path, alone: Any) -> None:
    made = train(tmp_path, max_epochs=1)
    made.fit_loop.max_epochs = 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
        made.fit(made.lightning_module, data(), data())
    assert losses(tmp_path / "llc_lightning") == alone[0.05]


def test_checkpoints_of_old_versions_continue_in_the_first_folder(tmp_path: Path, alone: Any) -> None:
    import torch

    train(tmp_path)
    (tmp_path / "llc_lightning" / "training").unlink()
    old = torch.load(checkpoint(tmp_path, 4), weights_only=True)
    del old["llc_lightning_training"]
    torch.save(old, tmp_path / "old.ckpt")
    train(tmp_path, ckpt=tmp_path / "old.ckpt")
    assert losses(tmp_path / "llc_lightning") == alone[0.05]
