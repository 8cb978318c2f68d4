"""A run as the report reads it: rows, events, timings, provenance, configuration."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from llc_lightning.analysis.table import LEVEL
from llc_lightning.analysis.timing import Timing, timing
from llc_lightning.report.events import Logged, read_events
from llc_lightning.report.panel import Matrix, Panel
from llc_lightning.report.sections import Findings, find, sections
from llc_lightning.results.run import Run
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import StoreError


@dataclass(frozen=True)
class Source:
    """All that is said about one run."""

    folder: Path
    found: Findings
    logged: Logged
    time: Timing
    provenance: list[dict[str, Any]] = field(repr=False)
    config: dict[str, Any] = field(repr=False)

    @cached_property
    def sections(self) -> dict[str, list[Panel | Matrix]]:
        """The figures of the run alone, by heading."""
        return sections(self.found, self.logged)

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
        return cls(run.folder, found, logged, timing(run.timings(), elapsed=logged.seconds), run.provenance, run.config)
