"""What commands write."""

from pathlib import Path

from llc_lightning.runtime.errors import StoreError


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
