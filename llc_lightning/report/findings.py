"""A run as the report reads it, and everything that it says about it, computed once from its rows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.agreement import Agreement, agreement, agreements
from llc_lightning.analysis.cis import (
    EffectMatrix,
    Verdict,
    effect_matrix,
    superposition_over_training,
    superposition_verdict,
)
from llc_lightning.analysis.curve import Curve, fit_curve
from llc_lightning.analysis.health import Health, health
from llc_lightning.analysis.selectivity import selectivity, task_pair
from llc_lightning.analysis.timing import Timing, timing
from llc_lightning.analysis.trajectories import trajectories
from llc_lightning.report.events import Logged, read_events
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import StoreError


@dataclass(frozen=True)
class Findings:
    """What the analysis found; None or empty where the rows do not say."""

    run: str
    level: float
    """Probability of the intervals."""
    rows: pd.DataFrame = field(repr=False)
    """Of the newest revision of each measurement."""
    older: tuple[revisions.Older, ...]
    """What is left out, since there are newer rows of the same."""
    trajectories: pd.DataFrame = field(repr=False)
    """Of the training loss; see :func:`llc_lightning.analysis.trajectories.trajectories`."""
    units: str | None
    """The kind of the smallest components."""
    health: Health
    curve: Curve | None
    agreement: Agreement | None
    """At the last step with ok rows."""
    agreements: tuple[Agreement, ...]
    """At every step."""
    verdict: Verdict | None
    over_training: pd.DataFrame = field(repr=False)
    """See :func:`llc_lightning.analysis.cis.superposition_over_training`."""
    matrix: EffectMatrix | None = field(repr=False)
    task_pair: tuple[str, str] | None
    """The two tasks of the net, where it has two."""
    selectivity: pd.DataFrame = field(repr=False)
    """See :func:`llc_lightning.analysis.selectivity.selectivity`."""

    @property
    def steps(self) -> list[int]:
        """Returns the measured steps."""
        return table.steps(self.rows)


def find(rows: pd.DataFrame, *, run: str, level: float = table.LEVEL) -> Findings:
    """Returns what the rows of a run say; a half-finished run gives what is there.

    Args:
        rows: The measurement table.
        run: Name of the run, for titles.
        level: Probability of the intervals.
    """
    left_out, rows = revisions.older(rows), revisions.newest(rows)
    return Findings(
        run=run,
        level=level,
        rows=rows,
        older=left_out,
        trajectories=trajectories(rows, level=level),
        units=table.unit_kind(rows),
        health=health(rows),
        curve=fit_curve(rows),
        agreement=agreement(rows, level=level),
        agreements=tuple(agreements(rows, level=level)),
        verdict=superposition_verdict(rows),
        over_training=superposition_over_training(rows),
        matrix=effect_matrix(rows),
        task_pair=task_pair(rows),
        selectivity=selectivity(rows),
    )


@dataclass(frozen=True)
class Source:
    """All that is said about one run."""

    folder: Path
    found: Findings
    logged: Logged
    time: Timing
    provenance: list[dict[str, Any]] = field(repr=False)
    config: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, run: Run, *, level: float = table.LEVEL) -> "Source":
        """Reads a run, finished or not.

        Raises:
            StoreError: If it has no measurements yet, or a file of it is damaged.
        """
        rows = run.measurements()
        if not len(rows):
            raise StoreError(
                f"{run.folder} has no measurements yet; train on, or type: python analyze.py measure {run.folder}"
            )
        logged = read_events(run.folder)
        found = find(rows, run=run.name, level=level)
        return cls(run.folder, found, logged, timing(run.timings(), elapsed=logged.seconds), run.provenance, run.config)
