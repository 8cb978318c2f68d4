"""Keeps ``last.ckpt`` up to date, at moments from which a training continues exactly."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from llc_lightning.callbacks.cadenced import CadencedCallback
from llc_lightning.callbacks.folder import run_folder, writes
from llc_lightning.callbacks.frame import callbacks_of
from llc_lightning.callbacks.steps import planned_steps
from llc_lightning.runtime.errors import at_least

LAST = "last.ckpt"


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` into the run folder: before the first step, after every measurement, and in between.

    What an interruption can cost is at most one measurement and ``every_n_steps`` steps. It writes only where an
    optimizer step has just been made, since partial sums of gradients are not part of a checkpoint, and in the last
    step only when everything that is measured at the end is on disk.

    Args:
        every_n_steps: Optimizer steps between checkpoints where nothing is measured.

    Raises:
        SettingError: If ``every_n_steps`` is below 1.
    """

    def __init__(self, every_n_steps: int = 1000) -> None:
        at_least(1, every_n_steps=every_n_steps)
        self.every_n_steps = every_n_steps
        self._folder = Path()
        self._saved_at = -1
        self._last_step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves before the first step, unless the training continues."""
        self._folder = run_folder(trainer)
        self._last_step = self._saved_at = trainer.global_step
        if trainer.global_step == 0:
            self._save(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves if something was measured since the last checkpoint, or that is long ago."""
        step, stepped = trainer.global_step, trainer.global_step > self._last_step
        self._last_step = step
        end = planned_steps(trainer)
        if not stepped or (end is not None and step >= end):
            return
        fired_at = max((callback.fired_at for callback in callbacks_of(trainer, CadencedCallback)), default=-1)
        if fired_at > self._saved_at or step - self._saved_at >= self.every_n_steps:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves at the end."""
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self._saved_at = trainer.global_step
        if writes(trainer):
            trainer.save_checkpoint(self._folder / LAST)
