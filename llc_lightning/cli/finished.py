"""A run that has ended is not continued with other settings: its configuration would say what no row of it has."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from llc_lightning.cli.console import analyze
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import SnapshotError


def check_continues(
    folder: Path, checkpoint: Mapping[str, Any], config: Mapping[str, Any], keys: Sequence[str]
) -> None:
    """Raises if a run that has nothing left to train is to be continued with other settings.

    Args:
        folder: The run folder.
        checkpoint: The content of its last checkpoint.
        config: The complete configuration to continue it with, in plain values.
        keys: The keys of the configuration that rows depend on.

    Raises:
        SnapshotError: If it is; the message names the first difference.
        StoreError: If the configuration of the run cannot be read.
    """
    before = Run(folder).config
    if not before or not _ended(checkpoint, config["trainer"]):
        return
    for name, was, becomes in _differences({key: before.get(key) for key in keys}, {key: config[key] for key in keys}):
        raise SnapshotError(
            f"{folder} has ended, and its rows have {name}={was!r}, not {becomes!r}; start a new run without "
            f"--ckpt_path, train on with a larger trainer.max_steps or max_epochs, or measure its snapshots: "
            f"{analyze('measure', folder)} --config FILE"
        )


def _ended(checkpoint: Mapping[str, Any], trainer: Mapping[str, Any]) -> bool:
    """Says whether a checkpoint is at the end of the training that is configured."""
    limits = ((checkpoint["global_step"], trainer.get("max_steps")), (checkpoint["epoch"], trainer.get("max_epochs")))
    return any(limit not in (None, -1) and done >= limit for done, limit in limits)


def _differences(one: Any, other: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields where two nested mappings differ, and how; a key that only one of them has does not count."""
    if isinstance(one, dict) and isinstance(other, dict):
        former, latter = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        for key in (key for key in former if key in latter):
            yield from _differences(former[key], latter[key], f"{name}.{key}" if name else key)
    elif one != other:
        yield name, one, other
