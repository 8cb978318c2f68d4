"""What a budget has left out of a run's measurements, until it is measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llc_lightning.results.files import checked_name, publish
from llc_lightning.runtime.errors import StoreError, one_line

FOLDER = "left_out"


def write_left_out(run: Path, part: str, **what: str | int | Sequence[str] | Sequence[float]) -> Path:
    """Notes what was left out of a part.

    Args:
        run: The run folder.
        part: Name of the part, as ``part_name`` gives it.
        **what: What was, such as name, step, jobs left out and jobs asked for.

    Raises:
        SettingError: If the name cannot be a file.
        StoreError: If the folder cannot be written to.
    """
    text = json.dumps({"part": part, **what}) + "\n"
    return publish(run, f"{FOLDER}/{checked_name('part', part)}.json", lambda path: path.write_text(text, "utf-8"))


def read_left_out(run: Path) -> list[dict[str, Any]]:
    """Returns what is noted as left out and not measured since, a record for each part.

    Raises:
        StoreError: If a note is damaged.
    """
    records: list[dict[str, Any]] = []
    for path in sorted((run / FOLDER).glob("*.json")):
        try:
            records.append(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:  # it has been measured meanwhile
            continue
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} is damaged: {one_line(error)}; delete it, it is a note alone.") from error
    return records


def forget_left_out(run: Path, part: str) -> None:
    """Forgets that something was left out of a part: it has been measured."""
    (run / FOLDER / f"{part}.json").unlink(missing_ok=True)
