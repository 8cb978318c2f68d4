"""The weights of a run at chosen steps, as safetensors."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llc_lightning.results.files import listed, publish, verify
from llc_lightning.results.training import ABANDONED
from llc_lightning.runtime.errors import SettingError, SnapshotError, one_line

FOLDER = "snapshots"
_FILE = re.compile(r"step=(\d{8,})\.safetensors")
_REMEDY = "restore it from a copy, or delete it and train again"


def save_snapshot(run: Path, step: int, tensors: Mapping[str, Tensor], *, epoch: int = 0) -> Path:
    """Writes the tensors of a step, replacing an older snapshot of it; equal tensors give equal bytes.

    Args:
        run: The run folder.
        step: Optimizer updates done.
        tensors: Parameters and buffers by name, on any device; tied tensors under one name.
        epoch: Number of the epoch in progress, from 0.

    Returns:
        The path of the snapshot.

    Raises:
        SettingError: If the step is negative or there is no tensor.
        StoreError: If the disk is full, or the folder cannot be written to.
        SnapshotError: If safetensors cannot write the tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

    if step < 0 or not tensors:
        raise SettingError(f"a snapshot of step {step} with {len(tensors)} tensors; give a step >= 0 and at least one.")
    # Fresh memory for each, since safetensors refuses tensors that share it.
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    note = {"epoch": str(epoch)}
    try:
        return publish(run, f"{FOLDER}/step={step:08d}.safetensors", lambda path: save_file(own, path, note))
    except SafetensorError as error:
        raise SnapshotError(
            f"cannot write the snapshot of step {step} into {run}: {one_line(error)}; check the disk."
        ) from error


def load_snapshot(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a snapshot by name, on the CPU, after checking its SHA-256 against the run's manifest.

    Raises:
        SnapshotError: If the file is missing, no snapshot of a run, unlisted or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    snapshot_step(path)
    verify(path, listed(path.parent.parent).get(f"{FOLDER}/{path.name}", []), remedy=_REMEDY, error=SnapshotError)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SnapshotError(f"{path} is damaged: {one_line(error)}; {_REMEDY}.") from error


def snapshot_epoch(path: Path) -> int:
    """Returns the epoch that was in progress when a snapshot was taken.

    Raises:
        SnapshotError: If the file is missing or damaged.
    """
    import safetensors

    untyped: Any = safetensors
    try:
        with untyped.safe_open(path, framework="pt") as file:
            note: dict[str, str] | None = file.metadata()
        return int((note or {}).get("epoch", "0"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise SnapshotError(f"{path} is damaged: {one_line(error)}; {_REMEDY}.") from error


def list_snapshots(run: Path) -> dict[int, Path]:
    """Returns the snapshots of a run by step, in rising order."""
    paths = (path for path in (run / FOLDER).glob("step=*.safetensors") if _FILE.fullmatch(path.name))
    return dict(sorted((snapshot_step(path), path) for path in paths))


def lost_snapshots(run: Path) -> list[int]:
    """Returns the steps of the snapshots that the manifest lists and that are nowhere, in rising order."""
    names = (Path(name) for name in listed(run))
    steps = {snapshot_step(name) for name in names if name.parent.name == FOLDER and _FILE.fullmatch(name.name)}
    left = (snapshot_step(path) for path in run.glob(f"{ABANDONED}/*/{FOLDER}/step=*.safetensors"))
    return sorted(steps.difference(list_snapshots(run), left))


def snapshot_step(path: Path) -> int:
    """Returns the step that a snapshot is named after.

    Raises:
        SnapshotError: If the file is not named like a snapshot.
    """
    named = _FILE.fullmatch(path.name)
    if named is None:
        raise SnapshotError(f"{path} is no snapshot; give a file such as RUN/{FOLDER}/step=00000500.safetensors.")
    return int(named.group(1))
