"""The measurement table of a run, kept as checksummed Parquet parts."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llc_lightning.results.files import checked_name, listed, publish, verify
from llc_lightning.results.schema import COLUMNS, KEY, SCHEMA_VERSION, Row, arrow_schema, completed, to_table
from llc_lightning.runtime.errors import StoreError, one_line

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

FOLDER = "measurements"
_REMEDY = "delete it and measure that step again (analyze.py measure)"


def part_name(step: int, name: str) -> str:
    """Returns the name of the part that holds what one callback measured at one step.

    Example:
        >>> part_name(500, "llc")
        'step=00000500-llc'
    """
    return f"step={step:08d}-{name}"


@dataclass(frozen=True)
class Store:
    """The measurements of one run.

    One process writes a part at a time, the one that has claimed it; any number may read meanwhile.
    """

    run: Path
    """The run folder."""

    def write(self, part: str, rows: Iterable[Row]) -> Path:
        """Writes a part, replacing it whole if it is there; equal rows give equal bytes.

        Args:
            part: Name of the part, as ``part_name`` gives it.
            rows: All of its rows, in any order.

        Returns:
            The path of the part.

        Raises:
            SettingError: If the name cannot be a file, or two rows have the same key.
            StoreError: If the disk is full, or the folder cannot be written to.
        """
        table = to_table(rows)
        return publish(self.run, f"{FOLDER}/{checked_name('part', part)}.parquet", lambda path: _write(table, path))

    def parts(self) -> dict[str, Path]:
        """Returns the parts that are there, by name."""
        return {path.stem: path for path in sorted((self.run / FOLDER).glob("*.parquet"))}

    def read_part(self, part: str) -> "pd.DataFrame":
        """Returns the rows of one part.

        Raises:
            StoreError: If it is missing, damaged, not listed in the manifest, or of a newer version of this package.
        """
        path = self.run / FOLDER / f"{part}.parquet"
        return _read(path, listed(self.run).get(_listed_as(path), [])).to_pandas()  # pyright: ignore[reportUnknownMemberType]

    def read(self, *, skip_corrupt: bool = False) -> "pd.DataFrame":
        """Returns all rows, sorted by key; of rows with the same key the one that was written last.

        Args:
            skip_corrupt: Leave out parts that cannot be trusted, with a warning for each, rather than raise.

        Raises:
            StoreError: If a part is damaged, not listed in the manifest, or of a newer version of this package.
        """
        import pyarrow as pa

        known = listed(self.run)
        tables = [arrow_schema().empty_table()]
        for path in sorted(self.parts().values(), key=lambda path: _age(path, known)):
            try:
                tables.append(_read(path, known.get(_listed_as(path), [])))
            except StoreError as error:
                if not skip_corrupt:
                    raise
                warnings.warn(f"left out: {error}", stacklevel=2)
        table = pa.concat_tables(tables, promote_options="default")
        return table.take(_last_of_each(table)).to_pandas()  # pyright: ignore[reportUnknownMemberType]


def _last_of_each(table: "pa.Table") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Returns the places of the rows that count, sorted by key: of those with the same key the last one."""
    import numpy as np

    columns = [_ranks(table.column(name)) for name in KEY]
    # The last of the keys given to lexsort decides first; it leaves rows with the same key in their order.
    order = np.lexsort(columns[::-1])
    last = np.ones(len(order), dtype=bool)
    last[:-1] = np.logical_or.reduce([column[order[1:]] != column[order[:-1]] for column in columns])
    return order[last]


def _ranks(column: "pa.ChunkedArray[Any]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Returns whole numbers in the order of a column's values: sorting them is many times faster than sorting text."""
    import numpy as np
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        return column.to_numpy().astype(np.int64)
    coded: Any = cast("Any", column.combine_chunks()).dictionary_encode()
    places = np.argsort(np.array(coded.dictionary.to_pylist(), dtype=object), kind="stable")
    rank = np.empty(len(places), dtype=np.int64)
    rank[places] = np.arange(len(places))
    return rank[coded.indices.to_numpy()] if len(rank) else np.zeros(0, dtype=np.int64)


def _write(table: "pa.Table", path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(table, path, compression="zstd", write_page_checksum=True)  # pyright: ignore[reportUnknownMemberType]


def _read(path: Path, digests: list[str]) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import parquet

    verify(path, digests, remedy=_REMEDY)
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()  # pyright: ignore[reportUnknownMemberType]
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} is damaged: {one_line(error)}; {_REMEDY}.") from error
    version = int((table.schema.metadata or {}).get(b"llc_lightning_schema", b"0"))
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, and this llc_lightning reads versions up to {SCHEMA_VERSION}; "
            "update llc_lightning."
        )
    table = completed(table, version)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if version < 1 or missing:
        raise StoreError(f"{path} is no table of measurements (missing: {', '.join(missing) or 'version'}); {_REMEDY}.")
    return table


def _listed_as(path: Path) -> str:
    return f"{FOLDER}/{path.name}"


def _age(path: Path, known: dict[str, list[str]]) -> tuple[int, str]:
    order = {name: position for position, name in enumerate(known)}
    return order.get(_listed_as(path), -1), path.name
