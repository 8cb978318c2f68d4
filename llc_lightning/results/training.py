"""Which training a run folder belongs to, and what a training leaves aside when it goes back to an earlier step."""

import re
from pathlib import Path

from llc_lightning.runtime.errors import StoreError

FILE = "training"
"""Holds the name of the training whose rows are in the folder."""
ENDED = ".ended"
"""Says that the training has ended of itself; one that was stopped leaves none, since it can go on."""
ABANDONED = "abandoned"
"""Where the rows lie that a training left when it went back to an earlier step."""
_KEPT = ("measurements", "snapshots", "traces", "posterior", "timings", "left_out")
_STEP = re.compile(r"step=(\d+)")
_FORK = re.compile(r"(?P<number>\d+)-after-step=(?P<step>\d+)")


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


def mark_ended(run: Path, ended: bool) -> None:
    """Notes that the training of a run has ended, or that it goes on.

    Raises:
        StoreError: If the folder cannot be written to.
    """
    path = run / ENDED
    try:
        path.touch() if ended else path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; make the folder writable.") from error


def has_ended(run: Path) -> bool:
    """Says whether the training of a run has ended, other than by a signal or an error."""
    return (run / ENDED).is_file()


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
    aside = run / ABANDONED / f"{1 + len(forks(run))}-after-step={step:08d}"
    try:
        return [_moved(path, aside / path.parent.name / path.name) for path in later]
    except OSError as error:
        raise StoreError(f"cannot move files into {aside}: {error.strerror}; make {run} writable.") from error


def forks(run: Path) -> list[int]:
    """Returns the steps that a training went back to, in the order in which it did."""
    found = [_FORK.fullmatch(path.name) for path in (run / ABANDONED).glob("*")]
    numbered = sorted((int(fork["number"]), int(fork["step"])) for fork in found if fork)
    return [step for _, step in numbered]


def forks_before(run: Path, step: int, known: int) -> list[int]:
    """Returns the steps before ``step`` that a training went back to since it had gone back ``known`` times."""
    return [fork for fork in forks(run)[known:] if fork < step]


def check_branch(run: Path, step: int, known: int) -> None:
    """Checks that a checkpoint is not of what its training has abandoned since.

    Args:
        run: The run folder.
        step: The step of the checkpoint.
        known: How often the training had gone back when the checkpoint was written.

    Raises:
        StoreError: If it is: two branches would share a table.
    """
    if earlier := forks_before(run, step, known):
        raise StoreError(
            f"the checkpoint of step {step} is of a branch that this training left when it went back to step "
            f"{earlier[-1]}: the rows of {run} are of the other one; give another folder (default_root_dir, or the "
            "logger's), or continue a checkpoint that was written after that."
        )


def _step(path: Path) -> int:
    named = _STEP.match(path.name)
    return int(named.group(1)) if named else -1


def _moved(path: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return path.replace(target)
