"""Keeps the weights at chosen steps, so that a run can be measured afterwards."""

import lightning as L

from llc_lightning.callbacks.cadenced import CadencedCallback
from llc_lightning.callbacks.folder import claim_folder, writes
from llc_lightning.components.loss import snapshot_params
from llc_lightning.results.snapshots import save_snapshot
from llc_lightning.runtime.cadence import Cadence, Moment
from llc_lightning.runtime.workers import Workers


class SnapshotCallback(CadencedCallback):
    """Writes the parameters and buffers to ``snapshots/step=00000500.safetensors`` of the run folder.

    Args:
        when: The steps; None switches it off.
        name: Its name among the callbacks of a trainer.

    Raises:
        SettingError: If the name cannot name a file.
    """

    def __init__(self, when: Cadence | None, *, name: str = "snapshots") -> None:
        super().__init__(when, name=name)

    def act(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Writes a snapshot, on rank 0."""
        if not writes(trainer):
            return
        folder = claim_folder(trainer)
        Workers.of(trainer).on_zero(
            lambda: save_snapshot(folder, moment.step, snapshot_params(pl_module), epoch=moment.epoch)
        )
