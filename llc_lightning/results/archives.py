"""Trees of arrays, kept as Zarr in one zip file and read as xarray."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from llc_lightning.results.files import checked_name, listed, publish, verify
from llc_lightning.runtime.errors import StoreError, one_line

if TYPE_CHECKING:
    import xarray as xr

SUFFIX = ".zarr.zip"
_REMEDY = "delete it and measure that step again (analyze.py measure)"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first date a zip file can hold; equal trees are to give equal bytes


def write_archive(run: Path, folder: str, part: str, tree: "xr.DataTree") -> Path:
    """Writes a tree, replacing the file whole; equal trees give equal bytes.

    Args:
        run: The run folder.
        folder: The folder in it.
        part: Name of the part, as ``part_name`` gives it.
        tree: The arrays, with names for their axes.

    Returns:
        The path of the file.

    Raises:
        SettingError: If the name cannot be a file.
        StoreError: If the disk is full, or the folder cannot be written to.
    """
    return publish(run, f"{folder}/{checked_name('part', part)}{SUFFIX}", lambda path: _write(path, tree))


def read_archive(path: str | Path, folder: str, *, of: str) -> "xr.DataTree":
    """Returns the tree in a file, loaded into memory, after checking its SHA-256 against the run's manifest.

    Args:
        path: A file in that folder of a run.
        folder: The folder's name.
        of: What it holds, for messages.

    Raises:
        StoreError: If the file is missing, no such archive, unlisted or damaged.
    """
    import xarray as xr
    from zarr.storage import ZipStore

    path = Path(path)
    verify(path, listed(path.parent.parent).get(f"{folder}/{path.name}", []), remedy=_REMEDY)
    try:
        zipfile.ZipFile(path).close()  # since ZipStore cannot close what it could not open
        with ZipStore(path, mode="r") as store:
            lazy = xr.open_datatree(store, engine="zarr", consolidated=False)  # pyright: ignore[reportArgumentType, reportUnknownMemberType]
            return lazy.load()  # pyright: ignore[reportUnknownMemberType]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is no file of {of}: {one_line(error)}; {_REMEDY}.") from error


def list_archives(run: Path, folder: str) -> dict[str, Path]:
    """Returns the archives in a folder of a run by the name of their part."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted((run / folder).glob(f"*{SUFFIX}"))}


def _write(path: Path, tree: "xr.DataTree") -> None:
    from zarr.core.buffer import Buffer
    from zarr.storage import MemoryStore

    members: dict[str, Buffer] = {}
    # Format 2, since text has no specification in format 3 yet.
    tree.to_zarr(MemoryStore(members), zarr_format=2, consolidated=False)  # pyright: ignore[reportUnknownMemberType]
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), members[name].to_bytes())
