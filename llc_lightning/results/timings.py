"""What measuring cost: seconds and hosts, apart from the measurements so that those can be equal to the byte."""

import json
import platform
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from llc_lightning.results.files import checked_name, publish
from llc_lightning.runtime.errors import StoreError, one_line

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "timings"


def write_timing(run: Path, part: str, *, seconds: float, host: str | None = None, **more: str | int | float) -> Path:
    """Notes what one part cost.

    Args:
        run: The run folder.
        part: Name of the part, as ``part_name`` gives it.
        seconds: Wall-clock time.
        host: The machine; by default this one.
        **more: Further facts for columns of their own: step, name, processes, jobs.

    Raises:
        SettingError: If the name cannot be a file.
        StoreError: If the folder cannot be written to.
    """
    record = {"part": part, "seconds": seconds, "host": platform.node() if host is None else host, **more}
    name = f"{FOLDER}/{checked_name('part', part)}.json"
    return publish(run, name, lambda path: path.write_text(json.dumps(record) + "\n", encoding="utf-8"))


def read_timings(run: Path, *, skip_corrupt: bool = False) -> "pd.DataFrame":
    """Returns one line for each part: part, seconds, host and whatever else was noted.

    Args:
        run: The run folder.
        skip_corrupt: Leave out files that cannot be read, with a warning for each, rather than raise.

    Raises:
        StoreError: If a file is damaged.
    """
    import pandas as pd

    records: list[dict[str, object]] = []
    for path in sorted((run / FOLDER).glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            told = f"{path} is damaged: {one_line(error)}; delete it, nothing but the timing is lost."
            if not skip_corrupt:
                raise StoreError(told) from error
            warnings.warn(f"left out: {told}", stacklevel=2)
            continue
        records.append(record)
    return pd.DataFrame(records) if records else pd.DataFrame(columns=["part", "seconds", "host"])
