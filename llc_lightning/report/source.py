"""A run as the report reads it: rows, events, timings, provenance, configuration."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llc_lightning.analysis.table import LEVEL
from llc_lightning.analysis.timing import Timing, timing
from llc_lightning.report.events import Logged, read_events
from llc_lightning.report.panel import Matrix, Panel
from llc_lightning.report.sections import Findings, find, sections
from llc_lightning.report.sentences import headlines
from llc_lightning.results.arrays import list_arrays, read_arrays
from llc_lightning.results.run import Run
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import StoreError

if TYPE_CHECKING:
    import xarray as xr

T = TypeVar("T")


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
    damaged: list[str] = field(default_factory=list[str])
    """What could not be read, in a sentence each."""

    def said(self, *, verdict: bool = True) -> list[str]:
        """Returns what is said at the top, with the verdict or where it stands beside without; and what is damaged."""
        return [*headlines(self.found, time=self.time, verdict=verdict), *self.damaged]

    @cached_property
    def sections(self) -> dict[str, list[Panel | Matrix]]:
        """The figures of the run alone, by heading."""
        return sections(self.found, self.logged, posterior=self.posterior)

    @classmethod
    def of(cls, run: Run, *, level: float = LEVEL) -> "Source":
        """Reads a run, finished or not.

        What is damaged is left out and told; what is whole is reported.

        Raises:
            StoreError: If there are no measurements, or none that can be read.
        """
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            rows, times, damaged = run.measurements(skip_corrupt=True), run.timings(skip_corrupt=True), run.damaged()
        for each in told:
            if each.category is not UserWarning:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        damaged = [*dict.fromkeys(str(each.message) for each in told if each.category is UserWarning), *damaged]
        if not len(rows):
            none = f"{run.folder} has no measurements yet; train on, or type: {call('analyze', 'measure', run.folder)}"
            raise StoreError(damaged[0].removeprefix("left out: ") if damaged and run.store.parts() else none)
        provenance = _readable(lambda: run.provenance, damaged)
        config = _readable(lambda: run.config, damaged)
        logged = read_events(run.folder)
        arrays = list(list_arrays(run.folder).values())
        return cls(
            run.folder,
            find(rows, run=run.name, level=level),
            logged,
            timing(times, elapsed=logged.seconds),
            provenance or [],
            config or {},
            _readable(lambda: read_arrays(arrays[-1]), damaged) if arrays else None,
            damaged,
        )


def _readable(read: Callable[[], T], damaged: list[str]) -> T | None:
    """Returns what can be read; else None, and why is added to what is damaged."""
    try:
        return read()
    except StoreError as error:
        damaged.append(str(error))
        return None
