"""Where a run keeps what it leaves."""

import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning as L

from llc_lightning.results.provenance import provenance, write_provenance
from llc_lightning.runtime.workers import Workers


@runtime_checkable
class HasProvenance(Protocol):
    """A datamodule that knows where its examples come from."""

    def provenance(self) -> dict[str, Any]:
        """Returns it as plain values."""
        ...


def run_folder(trainer: L.Trainer) -> Path:
    """Returns the run folder: the folder of the first logger, else ``default_root_dir/llc_lightning``.

    Every rank must call it, and gets the path of rank 0.
    """
    folder = trainer.log_dir if trainer.loggers else None
    return Path(folder) if folder else Path(trainer.default_root_dir, "llc_lightning")


def writes(trainer: L.Trainer) -> bool:
    """Says whether the trainer leaves anything: not in Lightning's ``fast_dev_run``."""
    return not getattr(trainer, "fast_dev_run", False)


def run_seed() -> int:
    """Returns the seed that Lightning's ``seed_everything`` was called with, 0 if it was not."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def open_folder(trainer: L.Trainer, *, seed: int) -> Path:
    """Returns the run folder with its provenance written, on every rank.

    Raises:
        MeasurementError: If the folder cannot be written to.
    """
    folder, workers = run_folder(trainer), Workers.of(trainer)
    record = provenance(seeds={"run": seed}, device=trainer.strategy.root_device.type)
    datamodule: object = getattr(trainer, "datamodule", None)
    if isinstance(datamodule, HasProvenance):
        record["data"] = datamodule.provenance()
    workers.on_zero(lambda: write_provenance(folder, record))
    return folder
