"""Where a run keeps what it leaves: a folder that no other training writes to."""

import os
import warnings
from itertools import count
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4
from weakref import WeakKeyDictionary

import lightning as L

from llc_lightning.results.files import MANIFEST
from llc_lightning.results.provenance import provenance, write_provenance
from llc_lightning.results.training import claim, owner
from llc_lightning.runtime.workers import Workers

LAST = "last.ckpt"

_CONTINUED: WeakKeyDictionary[L.Trainer, str] = WeakKeyDictionary()
"""The name of the training whose checkpoint a trainer has loaded; '' if it gives none, as those of old versions."""
_CLAIMED: WeakKeyDictionary[L.Trainer, tuple[Path, str]] = WeakKeyDictionary()
"""The folder that a trainer writes to, and the name of the training that it is at."""


@runtime_checkable
class HasProvenance(Protocol):
    """A datamodule that knows where its examples come from."""

    def provenance(self) -> dict[str, Any]:
        """Returns it as plain values."""
        ...


def run_folder(trainer: L.Trainer) -> Path:
    """Returns the run folder: the one that the training has claimed, else the one that it would claim first.

    Every rank must call it, and gets the path of rank 0.
    """
    return _CLAIMED[trainer][0] if trainer in _CLAIMED else _first(trainer)


def _first(trainer: L.Trainer) -> Path:
    folder = trainer.log_dir if trainer.loggers else None
    return Path(folder) if folder else Path(trainer.default_root_dir, "llc_lightning")


def training_of(trainer: L.Trainer) -> str:
    """Returns the name of the training that a trainer is at; '' before it has claimed a folder."""
    return _CLAIMED[trainer][1] if trainer in _CLAIMED else ""


def forget_training(trainer: L.Trainer) -> None:
    """Begins another training with a trainer: it will claim a folder of its own."""
    _CLAIMED.pop(trainer, None)
    _CONTINUED.pop(trainer, None)


def continue_training(trainer: L.Trainer, training: str) -> None:
    """Continues a training from its checkpoint: it will claim its own folder.

    Args:
        trainer: The trainer.
        training: The name that the checkpoint gives; '' if it gives none.
    """
    forget_training(trainer)
    _CONTINUED[trainer] = training


def is_continued(trainer: L.Trainer) -> bool:
    """Says whether a trainer goes on from a checkpoint."""
    return trainer in _CONTINUED


def claim_folder(trainer: L.Trainer) -> Path:
    """Returns the run folder, which from now on is of this training alone; every rank must call it.

    It is the folder of the first logger, else ``default_root_dir/llc_lightning``; where that holds another training,
    as after a second ``fit`` without a logger or with one that has no folder for each run, it is the first
    ``version_<n>`` in it that is free. A training that continues from a checkpoint continues in its own folder.

    Raises:
        MeasurementError: If the folder cannot be written to.
    """
    if trainer not in _CLAIMED:
        first, workers = _first(trainer), Workers.of(trainer)
        place = workers.on_zero(lambda: _claimed(first, _CONTINUED.get(trainer)))
        _CLAIMED[trainer] = workers.gather(place)[0] or (first, "")
        folder = _CLAIMED[trainer][0]
        if workers.is_zero and folder != first:
            warnings.warn(f"{first} holds another training; this one is kept in {folder}.", stacklevel=1)
    return run_folder(trainer)


def _claimed(first: Path, continued: str | None) -> tuple[Path, str]:
    """Returns the folder of a training, and its name; a new name where it begins."""
    if continued == "" and (first / MANIFEST).is_file():
        return first, owner(first)
    name = continued or uuid4().hex  # no draw from the generators of the training
    versions = [first, *first.glob("version_*")]
    own = [place for place in versions if owner(place) == name]
    places = (first / f"version_{number}" if number else first for number in count())
    return (own[0] if own else next(place for place in places if claim(place, name))), name


def save_last(trainer: L.Trainer) -> None:
    """Writes ``last.ckpt`` into the run folder; every rank must call it, at a moment from which a training continues.

    A measurement that is under way is due in it: what is done is noted when it is done.
    """
    trainer.save_checkpoint(claim_folder(trainer) / LAST)


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
    folder, workers = claim_folder(trainer), Workers.of(trainer)
    record = provenance(seeds={"run": seed}, device=trainer.strategy.root_device.type)
    datamodule: object = getattr(trainer, "datamodule", None)
    if isinstance(datamodule, HasProvenance):
        record["data"] = datamodule.provenance()
    workers.on_zero(lambda: write_provenance(folder, record))
    return folder
