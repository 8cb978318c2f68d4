"""Which training a run folder belongs to, and what a training leaves aside when it goes back to an earlier step."""

import re
from pathlib import Path

from llc_lightning.runtime.errors import StoreError

FILE = "training"
"""Holds the name of the training whose rows are in the folder."""
ABANDONED = "abandoned"
"""Where the rows lie that a training left when it went back to an earlier step."""
_KEPT = ("measurements", "snapshots", "traces", "timings")
_STEP = re.compile(r"step=(\d+)")


def owner(run: Path) -> str:
    """Returns the name of the training that a folder belongs to; '' if it says none."""
    path = run / FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def claim(run: Path, training: str) -> bool:
    """Says whether a training has got a folder for itself, which another one had not.

    Of two that claim a folder at once, one gets it.

    Raises:
        StoreError: If the folder cannot be written to.
    """
    if any((run / kept).is_dir() for kept in _KEPT):
        return False
    try:
        run.mkdir(parents=True, exist_ok=True)
        with (run / FILE).open("x", encoding="utf-8") as file:
            file.write(training + "\n")
    except OSError as error:
        if (run / FILE).is_file():
            return False
        raise StoreError(
            f"cannot write to {run}: {error.strerror}; make it writable, or choose another one."
        ) from error
    return True


def abandon_after(run: Path, step: int) -> list[Path]:
    """Moves what was measured and kept after a step into a folder of its own, and returns what was moved.

    Args:
        run: The run folder; only one process may write to it.
        step: The step that the training goes on from: what is of it stays.

    Raises:
        StoreError: If a file cannot be moved.
    """
    later = [path for kept in _KEPT for path in sorted((run / kept).glob("step=*")) if _step(path) > step]
    if not later:
        return []
    number = 1 + sum(1 for _ in (run / ABANDONED).glob("*")) if (run / ABANDONED).is_dir() else 1
    aside = run / ABANDONED / f"{number}-after-step={step:08d}"
    try:
        return [_moved(path, aside / path.parent.name / path.name) for path in later]
    except OSError as error:
        raise StoreError(f"cannot move files into {aside}: {error.strerror}; make {run} writable.") from error


def _step(path: Path) -> int:
    named = _STEP.match(path.name)
    return int(named.group(1)) if named else -1


def _moved(path: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return path.replace(target)
