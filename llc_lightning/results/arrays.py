"""Arrays beside the table of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

from llc_lightning.results.archives import list_archives, read_archive, write_archive

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "posterior"


def write_arrays(folder: Path, part: str, arrays: "xr.Dataset") -> Path:
    """Writes the arrays of one measurement, replacing the file whole; equal arrays give equal bytes.

    Args:
        folder: The run folder.
        part: Name of the part, as ``part_name`` gives it.
        arrays: With names for their axes.

    Returns:
        The path of the file.

    Raises:
        SettingError: If the name cannot be a file.
        StoreError: If the disk is full, or the folder cannot be written to.
    """
    import xarray as xr

    return write_archive(folder, FOLDER, part, xr.DataTree(arrays))


def read_arrays(path: str | Path) -> "xr.Dataset":
    """Returns the arrays in a file, loaded into memory, after checking its SHA-256 against the run's manifest.

    Args:
        path: A file in the folder ``posterior`` of a run.

    Raises:
        StoreError: If the file is missing, holds no arrays, is unlisted or damaged.
    """
    return read_archive(path, FOLDER, of="arrays").to_dataset()


def list_arrays(run: Path) -> dict[str, Path]:
    """Returns the files of arrays of a run by the name of their part."""
    return list_archives(run, FOLDER)
