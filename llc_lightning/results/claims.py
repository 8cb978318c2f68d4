"""Who is at work on what of a run: a file for each, which one process alone can make, and which dies with it."""

import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import time
from typing import Any
from uuid import uuid4

from llc_lightning.results.files import checked_name, lock
from llc_lightning.runtime.errors import StoreError

TRAINING = "training"
"""What a training claims for as long as it lasts."""
_FRESH = 30.0
"""Seconds after which a claim is renewed."""
_STALE = 600.0
"""Seconds without a renewal after which the claim of a process that cannot be looked at counts for nothing."""
_PROC = Path("/proc")


class Claim:
    """A claim that this process holds, and renews until it releases it or ends.

    Args:
        path: Its file.
        text: What is in it, as in no other.
    """

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text, self._over = path, text, Event()
        Thread(target=self._renewing, daemon=True, name=path.name).start()

    def release(self) -> None:
        """Ends it; what another process has put in its place stays."""
        self._over.set()
        with suppress(OSError):
            if self._is_own():
                self._path.unlink()

    def _is_own(self) -> bool:
        return self._path.read_text(encoding="utf-8") == self._text

    def _renewing(self) -> None:
        while not self._over.wait(_FRESH):
            with suppress(OSError):
                if self._is_own():
                    os.utime(self._path)


def claim(run: Path, name: str) -> Claim | None:
    """Returns a claim of something of a run, None where another process holds it and lives.

    Of two that claim it at once one gets it. A claim whose process has ended, or was not renewed for ten minutes by one
    that cannot be looked at, as on another host, counts for nothing.

    Raises:
        SettingError: If the name cannot be a file.
        StoreError: If the folder cannot be written to.
    """
    path, text = _path(run, name), _new()
    try:
        run.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            with suppress(FileExistsError):
                _make(path, text)
                return Claim(path, text)
            if is_held(run, name):
                return None
            _forget(run, name)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; make the folder writable.") from error
    return None


def take(run: Path, name: str) -> Claim:
    """Returns a claim of what is this process's own, whoever held it before.

    Raises:
        SettingError: If the name cannot be a file.
        StoreError: If the folder cannot be written to.
    """
    path, text = _path(run, name), _new()
    try:
        _sweep(run)
        new = _beside(path, text)
        try:
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; make the folder writable.") from error
    return Claim(path, text)


def is_held(run: Path, name: str) -> bool:
    """Says whether a process holds a claim, and lives."""
    path = _path(run, name)
    try:
        age = time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    except OSError:  # of a file system that does not answer now
        return True
    try:
        told: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        where, pid, began = str(told["where"]), int(told["pid"]), str(told["began"])
    except FileNotFoundError:
        return False
    except OSError:
        return age < _STALE
    except (ValueError, TypeError, KeyError):  # it is being written
        return age < _FRESH
    return _lives(pid, began) if where == _here() else age < _STALE


def _path(run: Path, name: str) -> Path:
    return run / f".{checked_name('claim', name)}.claim"


def _make(path: Path, text: str) -> None:
    """Makes a file that has its text from its first instant, whenever this process is killed.

    Raises:
        FileExistsError: If it is there.
    """
    new = _beside(path, text)
    try:
        path.hardlink_to(new)
    except FileExistsError:
        if new.stat().st_nlink == 1:  # else it is made, as NFS can say of a request that it repeats
            raise
    except OSError:  # of a file system without links
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    finally:
        new.unlink()


def _sweep(run: Path) -> None:
    """Takes away what processes have left that were killed while they made a claim."""
    for old in run.glob(".*.claim.*.tmp"):
        with suppress(FileNotFoundError):
            if time() - old.stat().st_mtime > _STALE:
                old.unlink()


def _beside(path: Path, text: str) -> Path:
    """Returns a file beside another, which nobody else writes, with a text."""
    new = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    new.write_text(text, encoding="utf-8")
    return new


def _new() -> str:
    """Returns what a claim of this process says."""
    pid = os.getpid()
    return json.dumps({"where": _here(), "pid": pid, "began": _state(pid)[1], "claim": uuid4().hex})


def _forget(run: Path, name: str) -> None:
    """Takes a claim away that counts for nothing; not one that somebody else has made in its place meanwhile."""
    path = _path(run, name)
    _sweep(run)
    with suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        lock(file)
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino and not is_held(run, name):
            path.unlink()


def _here() -> str:
    """Returns where a number names a process: the host since it was started, and the container."""
    boot, container = "", ""
    with suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        container = str((_PROC / "self/ns/pid").readlink())
    return " ".join([platform.node(), boot, container])


def _lives(pid: int, began: str) -> bool:
    """Says whether the process lives that began then, and not another of its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    state, since = _state(pid)
    return state != "Z" and since == began  # Z: it has ended, and nobody has asked for it yet


def _state(pid: int) -> tuple[str, str]:
    """Returns a process's state and when it began, in ticks since the host did; '' where the system does not tell."""
    with suppress(OSError, IndexError):
        told = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return told[0], told[19]
    return "", ""
