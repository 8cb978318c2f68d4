"""The files of a run: written whole or not at all, listed with their SHA-256 in the manifest, verified when read."""

import contextlib
import errno
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from llc_lightning.runtime.errors import LLCLightningError, SettingError, StoreError

MANIFEST = "manifest.jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,199}")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def publish(run: Path, name: str, write: Callable[[Path], object]) -> Path:
    """Puts a finished file into the run folder, replacing an older one in one instant.

    The file is written beside its place, flushed to disk, listed in the manifest and only then moved into place.
    Whoever reads, or kills the process at any moment, finds the whole old file or the whole new one, and either is
    listed. Several processes may publish, each of them other files.

    Args:
        run: The run folder; it is made if it is not there.
        name: Path of the file below it.
        write: Writes the content to the path it is given.

    Returns:
        The path of the file.

    Raises:
        StoreError: If the disk is full, or the folder cannot be written to.
    """
    target = run / name
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _flush(temporary)
        _list(run, name, _sha256(temporary), temporary.stat().st_size)
        temporary.replace(target)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {_remedy(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return target


def listed(run: Path) -> dict[str, list[str]]:
    """Returns every SHA-256 ever listed for each file, oldest first; the last is that of the newest version.

    The files come in the order in which they were last listed. Lines cut off by a crash and damaged ones are left out.
    """
    entries: dict[str, list[str]] = {}
    for _, name, digest in _entries(run):
        if name:
            entries[name] = [*entries.pop(name, []), digest]
    return entries


def damaged_lines(run: Path) -> list[int]:
    """Returns the numbers of the lines of the manifest that were written whole and have changed since, from 1."""
    return [number for number, name, _ in _entries(run) if not name]


def _entries(run: Path) -> Iterator[tuple[int, str, str]]:
    """Yields number, file and SHA-256 of every line; '' for the file where the line is damaged."""
    path = run / MANIFEST
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            name, digest = str(entry["path"]), str(entry["sha256"])
            whole = entry.get("check", _check(name, digest)) == _check(name, digest)
        except (ValueError, TypeError, KeyError, AttributeError):
            if line.endswith("}"):  # else it was cut off
                yield number, "", ""
            continue
        yield (number, name, digest) if whole else (number, "", "")


def _check(name: str, digest: str) -> str:
    """Returns what a line says besides, so that damage to the line is not taken for damage to the file."""
    return hashlib.sha256(f"{name} {digest}".encode()).hexdigest()[:8]


def verify(path: Path, digests: list[str], *, remedy: str, error: type[LLCLightningError] = StoreError) -> None:
    """Raises unless the file is one that was listed.

    Args:
        path: The file.
        digests: What ``listed`` knows of it; an older version than the last is accepted, since a crash between listing
            and moving leaves it in place.
        remedy: What to do about a damaged file, as the end of the sentence.
        error: What to raise.

    Raises:
        StoreError: If the file is missing, unlisted, unreadable or damaged.
    """
    if not path.is_file():
        raise error(f"there is no file {path}; give the path of one that the run wrote.")
    try:
        digest = _sha256(path)
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror}; make the file readable.") from cause
    manifest = next((run for run in (path.parent, path.parent.parent) if (run / MANIFEST).is_file()), path.parent)
    if not digests and (damaged := damaged_lines(manifest)):
        warnings.warn(
            f"{manifest / MANIFEST} is damaged in line {damaged[0]}, and {path} is not listed elsewhere in it: it is "
            "read without comparing its SHA-256; keep it, or measure that step again, which lists it anew.",
            stacklevel=2,
        )
    elif not digests:
        raise error(f"{path} is not listed in the {MANIFEST} of its run, so it cannot be verified; {remedy}.")
    elif digest not in digests:
        raise error(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}; {remedy}.")


def checked_name(kind: str, name: str) -> str:
    """Returns a name that is safe as the name of a file.

    Raises:
        SettingError: If it is empty, too long, or has other characters than letters, digits and ``. _ = + -``.
    """
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"the {kind} {name!r} cannot name a file; use 1 to 200 letters, digits and . _ = + -, and begin with a "
            "letter or digit."
        )
    return name


def lock(file: IO[Any]) -> None:
    """Waits until this process alone has locked a file, until it is closed; does nothing where nothing can lock."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _list(run: Path, name: str, digest: str, size: int) -> None:
    """Appends to the manifest in one write, unless the last entry of the file says the same."""
    if listed(run).get(name, [""])[-1] == digest:
        return
    entry = {"path": name, "sha256": digest, "bytes": size, "check": _check(name, digest)}
    line = json.dumps(entry).encode() + b"\n"
    with (run / MANIFEST).open("a+b", buffering=0) as manifest:
        lock(manifest)  # since not every file system appends as one act
        end = manifest.seek(0, os.SEEK_END)
        manifest.seek(max(end - 1, 0))
        cut_off = end > 0 and manifest.read(1) != b"\n"
        line = b"\n" + line if cut_off else line
        if manifest.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(manifest.fileno())


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "the disk is full; free some space and measure again, what was written before is complete."
    if error.errno in _FORBIDDEN:
        return f"{error.strerror}; make the folder writable or choose another one."
    return f"{error.strerror or error}; check the folder, or choose another one."
