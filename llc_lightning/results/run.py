"""A run folder, opened for reading; opening it imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llc_lightning.results.files import MANIFEST, listed, verify
from llc_lightning.results.store import Store
from llc_lightning.runtime.errors import StoreError, one_line

if TYPE_CHECKING:
    import pandas as pd

RUNS = "checkpoints"
_MEASURE = "delete it and measure that step again (analyze.py measure)"
_REMEDIES = {
    "traces": _MEASURE,
    "snapshots": "delete it; its weights come back only by training again, what was measured on them stays",
    "posterior": _MEASURE,
}
CONFIG = "config.yaml"


def run_name(folder: Path) -> str:
    """Returns the name that a run goes by in tables: its path below ``checkpoints/``, else its last two folders.

    Example:
        >>> run_name(Path("/data/checkpoints/cis/version_0"))
        'cis/version_0'
    """
    parts = folder.resolve().parts[1:]
    if RUNS in parts[:-1]:
        below = len(parts) - parts[::-1].index(RUNS)
        if below < len(parts):
            return "/".join(parts[below:])
    return "/".join(parts[-2:])


@dataclass(frozen=True)
class Run:
    """What a run left, finished or not; everything is read from disk when it is asked for."""

    folder: Path

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Opens the folder of a run.

        Raises:
            StoreError: If it is not there or is not the folder of a run; runs in its subfolders are named.
        """
        folder = Path(path)
        if not folder.is_dir():
            told = "is a file" if folder.exists() else "does not exist"
            raise StoreError(f"{folder} {told}; give the folder of a run, such as {RUNS}/cis/version_0.")
        if not (folder / MANIFEST).is_file():
            below = sorted(marker.parent for depth in ("*", "*/*") for marker in folder.glob(f"{depth}/{MANIFEST}"))
            question = (
                f"did you mean {' or '.join(str(path) for path in below[-3:])}?"
                if below
                else f"give the folder of a run, such as {RUNS}/cis/version_0."
            )
            raise StoreError(f"{folder} is not a run, since it holds no {MANIFEST}; {question}")
        return cls(folder)

    @property
    def name(self) -> str:
        """The name that the run goes by in tables."""
        return run_name(self.folder)

    @property
    def config(self) -> dict[str, Any]:
        """The complete configuration; empty for a run that was not started from the command line.

        Raises:
            StoreError: If the file cannot be read.
        """
        import yaml

        path = self.folder / CONFIG
        if not path.is_file():
            return {}
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise StoreError(f"{path} cannot be read: {one_line(error)}; restore it from a copy.") from error
        if not isinstance(config, dict):
            raise StoreError(f"{path} holds no configuration; restore it from a copy.")
        return cast("dict[str, Any]", config)

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """Versions, source and seeds, one record for each time that they changed."""
        from llc_lightning.results.provenance import read_provenance

        return read_provenance(self.folder)

    @property
    def store(self) -> Store:
        """The measurements, for writing or for reading around damage."""
        return Store(self.folder)

    def measurements(self, *, skip_corrupt: bool = False) -> "pd.DataFrame":
        """Returns all measured rows, sorted by key.

        Args:
            skip_corrupt: Leave out parts that cannot be trusted, with a warning for each, rather than raise.

        Raises:
            StoreError: If a part is damaged, unlisted, or of a newer version of this package.
        """
        return self.store.read(skip_corrupt=skip_corrupt)

    @property
    def snapshots(self) -> dict[int, Path]:
        """The snapshots of the weights by step; see ``load_snapshot``."""
        from llc_lightning.results.snapshots import list_snapshots

        return list_snapshots(self.folder)

    @property
    def traces(self) -> dict[str, Path]:
        """The files of per-draw losses by part; see ``read_trace``."""
        from llc_lightning.results.traces import list_traces

        return list_traces(self.folder)

    def timings(self, *, skip_corrupt: bool = False) -> "pd.DataFrame":
        """Returns what each part cost: part, seconds, host; ``skip_corrupt`` is that of ``measurements``."""
        from llc_lightning.results.timings import read_timings

        return read_timings(self.folder, skip_corrupt=skip_corrupt)

    def damaged(self) -> list[str]:
        """Returns a sentence for each file of traces, snapshots and arrays that is not as it was written."""
        told: list[str] = []
        known = listed(self.folder)
        for kind, remedy in _REMEDIES.items():
            for path in sorted((self.folder / kind).glob("step=*")):
                try:
                    verify(path, known.get(f"{kind}/{path.name}", []), remedy=remedy)
                except StoreError as error:
                    told.append(str(error))
        return told
