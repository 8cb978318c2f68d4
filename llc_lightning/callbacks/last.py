"""Keeps ``last.ckpt`` up to date, at moments from which a training continues exactly."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from llc_lightning.callbacks.cadenced import CadencedCallback
from llc_lightning.callbacks.folder import save_last, writes
from llc_lightning.callbacks.frame import callbacks_of
from llc_lightning.callbacks.steps import is_at_end, is_within_step, nothing_follows
from llc_lightning.callbacks.stop import is_awaited
from llc_lightning.runtime.errors import at_least


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
        self._done: list[int] = []
        """What each callback had done at the last checkpoint."""
        self._saved_at = -1
        self._last_step = 0

    def at_beginning(self, trainer: L.Trainer) -> None:
        """Saves before anything is measured, unless the training continues."""
        if trainer.global_step == 0:
            self._save(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves if something was measured before the first step, or nothing else has saved yet."""
        self._last_step = trainer.global_step
        if trainer.global_step == 0 and (self._saved_at != 0 or self._done != done_of(trainer)):
            self._save(trainer)
        self._saved_at, self._done = trainer.global_step, done_of(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves if something was measured since the last checkpoint, or that is long ago."""
        stepped, self._last_step = trainer.global_step > self._last_step, trainer.global_step
        if stepped and nothing_follows(trainer):
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves like after a batch; before something is to be measured, another callback does, which comes last."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not is_within_step(trainer):
            if is_awaited(trainer):
                self._note(trainer)
            else:
                self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves like after a batch."""
        self._save_if_due(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves at the end, when everything that is measured there is on disk."""
        self._save(trainer)

    def _save_if_due(self, trainer: L.Trainer) -> None:
        late = trainer.global_step - self._saved_at >= self.every_n_steps
        if (late or self._done != done_of(trainer)) and not is_at_end(trainer):
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self._note(trainer)
        if writes(trainer):
            save_last(trainer)

    def _note(self, trainer: L.Trainer) -> None:
        self._saved_at, self._done = trainer.global_step, done_of(trainer)


def done_of(trainer: L.Trainer) -> list[int]:
    """Returns the last step that each callback has acted at."""
    return [callback.fired_at for callback in callbacks_of(trainer, CadencedCallback)]
