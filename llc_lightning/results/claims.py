"""Who is at work on what of a run: a file for each, which one process alone can make, and which dies with it."""

import json
import os
import platform
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from llc_lightning.results.files import checked_name
from llc_lightning.runtime.errors import StoreError

TRAINING = "training"
"""What a training claims for as long as it lasts."""
_FRESH = 30.0
"""Seconds after which a claim is renewed."""
_STALE = 600.0
"""Seconds without a renewal after which the claim of a process on another host counts for nothing."""


class Claim:
    """A claim that this process holds.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Shows processes on other hosts that this one lives; it may be called often."""
        if time.monotonic() - self._renewed > _FRESH:
            self._renewed = time.monotonic()
            with suppress(OSError):
                os.utime(self._path)

    def release(self) -> None:
        """Ends it."""
        self._path.unlink(missing_ok=True)


def claim(run: Path, name: str) -> Claim | None:
    """Returns a claim of something of a run, None where another process holds it and lives.

    Of two that claim it at once one gets it. A claim whose process has ended, on this host, or that was not renewed for
    ten minutes, on another, counts for nothing.

    Raises:
        SettingError: If the name cannot be a file.
        StoreError: If the folder cannot be written to.
    """
    path = _path(run, name)
    try:
        run.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
                file.write(json.dumps({"host": platform.node(), "pid": os.getpid()}))
                return Claim(path)
            if is_held(run, name):
                return None
            _forget(run, name)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; make the folder writable.") from error
    return None


def is_held(run: Path, name: str) -> bool:
    """Says whether a process holds a claim, and lives."""
    path, age = _path(run, name), 0.0
    try:
        age = time.time() - path.stat().st_mtime
        told = json.loads(path.read_text(encoding="utf-8"))
        host, pid = str(told["host"]), int(told["pid"])
    except FileNotFoundError:
        return False
    except (ValueError, TypeError, KeyError):  # it is being written
        return age < _FRESH
    return _lives(pid) if host == platform.node() else age < _STALE


@contextmanager
def claimed(run: Path, name: str) -> Generator[Claim | None]:
    """Holds a claim meanwhile; None where another process has it."""
    held = claim(run, name)
    try:
        yield held
    finally:
        if held:
            held.release()


def _path(run: Path, name: str) -> Path:
    return run / f".{checked_name('claim', name)}.claim"


def _forget(run: Path, name: str) -> None:
    """Takes a claim away that counts for nothing; not one that somebody else has made in its place meanwhile."""
    import fcntl

    path = _path(run, name)
    with suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino and not is_held(run, name):
            path.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # a process that has ended and that nobody has asked for yet
    with suppress(OSError):
        return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return True
