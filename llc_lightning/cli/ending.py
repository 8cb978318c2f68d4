"""How a command ends: what it writes, and what to type next."""

import json
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from llc_lightning.runtime.errors import StoreError

_SHOWN = 3


def make_folder(folder: Path, *, option: str = "--out") -> Path:
    """Makes a folder where there is none, and returns it.

    Args:
        folder: The folder.
        option: The option that chose it, for the message of an error.

    Raises:
        StoreError: If it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror}; choose another place with {option}.") from error
    if not os.access(folder, os.W_OK):
        raise StoreError(f"{folder} cannot be written; choose another place with {option}.")
    return folder


def write(path: Path, content: str | Callable[[Path], object]) -> Path:
    """Writes a file, and the folders that it needs, and returns its path.

    Args:
        path: The file.
        content: Its text, or what writes it to the path that it is given.

    Raises:
        StoreError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8") if isinstance(content, str) else content(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; choose another place with --out.") from error
    return path


def analyze(command: str, *words: Path | str) -> str:
    """Returns a call of analyze.py as a shell reads it.

    Example:
        >>> analyze("report", Path("my runs/version_0"))
        "python analyze.py report 'my runs/version_0'"
    """
    return " ".join(["python analyze.py", command, *map(quoted, words)])


def quoted(word: Path | str) -> str:
    """Returns a path, or another word, as a shell reads it."""
    return shlex.quote(str(word))


def following(then: str) -> str:
    """Returns the line that says what to type next."""
    return f"next: {then}"


def end(options: Namespace, written: Sequence[Path], then: str, **more: object) -> None:
    """Says what was written and what to type next; ``more`` stands in the JSON alone."""
    if options.json:
        record = {"written": [str(path) for path in written], **more, "next": then}
        sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")
        return
    few = [str(path) for path in written[:_SHOWN]]
    rest = [f"and {len(written) - _SHOWN} more files"] if len(written) > _SHOWN else []
    said = f"wrote {', '.join([*few, *rest])}" if written else "nothing to do: all of it was there already"
    sys.stdout.write(f"{said}\n{following(then)}\n")
