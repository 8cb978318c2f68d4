"""Arrays beside the table of a run, kept as Zarr in one zip file and read as xarray."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from llc_lightning.results.files import checked_name, listed, publish, verify
from llc_lightning.results.traces import SUFFIX, zipped
from llc_lightning.runtime.errors import StoreError, one_line

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "posterior"
_REMEDY = "delete it and measure that step again (analyze.py measure)"


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

    name = f"{FOLDER}/{checked_name('part', part)}{SUFFIX}"
    return publish(folder, name, lambda path: zipped(path, xr.DataTree(arrays)))


def read_arrays(path: str | Path) -> "xr.Dataset":
    """Returns the arrays in a file, loaded into memory, after checking its SHA-256 against the run's manifest.

    Args:
        path: A file in the folder ``posterior`` of a run.

    Raises:
        StoreError: If the file is missing, holds no arrays, is unlisted or damaged.
    """
    import xarray as xr
    from zarr.storage import ZipStore

    path = Path(path)
    verify(path, listed(path.parent.parent).get(f"{FOLDER}/{path.name}", []), remedy=_REMEDY)
    try:
        zipfile.ZipFile(path).close()  # since ZipStore cannot close what it could not open
        with ZipStore(path, mode="r") as store:
            lazy = xr.open_dataset(store, engine="zarr", consolidated=False)  # pyright: ignore[reportArgumentType, reportUnknownMemberType]
            return lazy.load()  # pyright: ignore[reportUnknownMemberType]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is no file of arrays: {one_line(error)}; {_REMEDY}.") from error


def list_arrays(run: Path) -> dict[str, Path]:
    """Returns the files of arrays of a run by the name of their part."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted((run / FOLDER).glob(f"*{SUFFIX}"))}
