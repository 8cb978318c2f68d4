"""What commands write."""

import os
from pathlib import Path

from llc_lightning.runtime.errors import StoreError


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


def write_text(path: Path, text: str) -> None:
    """Writes a file, and the folders that it needs.

    Raises:
        StoreError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; choose another place with --out.") from error
