"""A run as the report reads it: rows, events, timings, provenance, configuration."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llc_lightning.analysis.table import LEVEL
from llc_lightning.analysis.timing import Timing, timing
from llc_lightning.report.events import Logged, read_events
from llc_lightning.report.panel import Matrix, Panel
from llc_lightning.report.sections import Findings, find, sections
from llc_lightning.results.arrays import list_arrays, read_arrays
from llc_lightning.results.run import Run
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import StoreError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Source:
    """All that is said about one run."""

    folder: Path
    found: Findings
    logged: Logged
    time: Timing
    provenance: list[dict[str, Any]] = field(repr=False)
    config: dict[str, Any] = field(repr=False)
    posterior: "xr.Dataset | None" = field(default=None, repr=False)
    """What draws know of single examples, at the last step where that was measured."""

    @cached_property
    def sections(self) -> dict[str, list[Panel | Matrix]]:
        """The figures of the run alone, by heading."""
        return sections(self.found, self.logged, posterior=self.posterior)

    @classmethod
    def of(cls, run: Run, *, level: float = LEVEL) -> "Source":
        """Reads a run, finished or not.

        Raises:
            StoreError: If it has no measurements yet, or a file of it is damaged.
        """
        rows = run.measurements()
        if not len(rows):
            raise StoreError(
                f"{run.folder} has no measurements yet; train on, or type: {call('analyze', 'measure', run.folder)}"
            )
        logged = read_events(run.folder)
        found = find(rows, run=run.name, level=level)
        time = timing(run.timings(), elapsed=logged.seconds)
        arrays = list(list_arrays(run.folder).values())
        posterior = read_arrays(arrays[-1]) if arrays else None
        return cls(run.folder, found, logged, time, run.provenance, run.config, posterior)
