"""Makes a resumed training continue bit for bit, and checks checkpoints before they are used."""

import random
import warnings
import zipfile
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch

from llc_lightning.runtime.errors import SnapshotError
from llc_lightning.runtime.workers import Workers

_KEY = "llc_lightning_random_states"


class ExactResume(L.Callback):
    """Stores the random states of all ranks in every checkpoint, and puts them back when training goes on from one.

    Lightning stores none. With this callback a resumed run has the bits of an uninterrupted one if the data do too:
    their order must follow from (seed, epoch), without draws from the global generators, and in the middle of an epoch
    the loader must know its place (``state_dict`` and ``load_state_dict``, as
    :class:`llc_lightning.data.order.EpochLoader` has them). The number of ranks must stay.
    """

    def __init__(self) -> None:
        self._loaded: list[dict[str, Any]] | None = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the random states; Lightning calls it on every rank."""
        checkpoint[_KEY] = Workers.of(trainer).gather(_random_states())

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps the random states for the start of the training."""
        self._loaded = checkpoint.get(_KEY)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts the random states of this rank back, if the training continues."""
        loaded, self._loaded = self._loaded, None
        if loaded is None:
            return
        if len(loaded) != trainer.world_size:
            warnings.warn(
                f"the checkpoint was written by {len(loaded)} processes and is continued by {trainer.world_size}: "
                "the training goes on, but not with the bits of an uninterrupted one.",
                stacklevel=2,
            )
            return
        _restore(loaded[trainer.global_rank])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Returns the content of a Lightning checkpoint, after checking every byte against the file's own checksums.

    Nothing in it is executed: it is loaded with ``weights_only=True``.

    Raises:
        SnapshotError: If it is missing, damaged, or holds anything but plain values and tensors.
    """
    if not path.is_file():
        raise SnapshotError(f"there is no checkpoint {path}; give the path of a .ckpt file.")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise SnapshotError(f"{path} is no checkpoint or is damaged ({error}); use another one.") from error
    if damaged is not None:
        raise SnapshotError(f"{path} is damaged: the checksum of {damaged} does not fit; use another checkpoint.")
    try:
        content: object = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # unpickling fails in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SnapshotError(f"cannot load {path} as plain values and tensors: {reason}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise SnapshotError(f"{path} is no checkpoint of a training: it has no 'state_dict'; give a .ckpt file.")
    return cast("dict[str, Any]", content)


def _random_states() -> dict[str, Any]:
    """Returns the global random states as values that ``torch.load(weights_only=True)`` accepts."""
    import numpy as np

    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def _restore(states: dict[str, Any]) -> None:
    import numpy as np

    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
