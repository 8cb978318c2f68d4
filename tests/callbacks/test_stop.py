"""The end of a training: when it is one, and what is told where a scheduler does not answer."""

import subprocess
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from llc_lightning.callbacks import stop
from llc_lightning.callbacks.steps import is_at_end
from llc_lightning.callbacks.stop import REQUEUED, StopAtSignal, _requeue
from llc_lightning.runtime.errors import StoreError


@pytest.mark.parametrize(("least", "ends"), [(10, False), (None, True)])
def test_a_training_that_must_go_on_is_not_at_its_end(least: int | None, ends: bool) -> None:
    trainer = L.Trainer(min_steps=least, min_epochs=0, max_steps=20, accelerator="cpu", barebones=True)
    assert not is_at_end(trainer)
    trainer.should_stop = True
    assert is_at_end(trainer) == ends


@pytest.mark.parametrize("said", [b"half a line", None])
def test_a_scheduler_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes | None
) -> None:
    def run(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, 20, stderr=said)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(StoreError, match=r"scontrol requeue 7 failed: .*timed out.*; .* can be continued by hand"):
        _requeue(tmp_path)
    assert (tmp_path / REQUEUED).read_text() == "7\n"


def test_every_rank_asks_for_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    trainer = L.Trainer(accelerator="cpu", barebones=True)
    monkeypatch.setattr(stop, "run_folder", lambda trainer: asked.append(trainer.is_global_zero) or tmp_path)
    for is_first in (True, False):  # where only one does, it waits for the others for ever
        monkeypatch.setattr(L.Trainer, "is_global_zero", is_first)
        StopAtSignal().on_train_start(trainer, L.LightningModule())
    assert asked == [True, False]
