"""The one function that measures: a plan at a snapshot, shared by all processes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.measure.ablation_rows import Warm, ablation_rows, effects, quantities, quantity_rows
from llc_lightning.measure.jobs import data_digest
from llc_lightning.measure.llc_rows import estimate, llc_rows, traces_of
from llc_lightning.measure.plans import LLCPlan, Plan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.errors import LLCLightningError, MeasurementError
from llc_lightning.runtime.progress import NoProgress, Progress
from llc_lightning.runtime.workers import Workers


@dataclass(frozen=True)
class Measured:
    """What a plan gave at a snapshot; the same on every process but for ``seconds``, this process's own time."""

    rows: list[Row]
    traces: list[Trace] = field(default_factory=list[Trace])
    seconds: float = 0.0


def measure(
    plan: Plan,
    snapshot: Snapshot,
    *,
    workers: Workers | None = None,
    share: bool = True,
    replicate: int = 0,
    progress: Progress | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    warm: Warm | None = None,
) -> Measured:
    """Returns the rows and traces of a plan at a snapshot, a pure function of both; every process must call it.

    Args:
        plan: What to measure.
        snapshot: The weights, the data and the seed.
        workers: The processes; this one alone by default.
        share: Whether the processes share the components; otherwise each measures them all.
        replicate: Number of the set of random streams of an LLC plan.
        progress: Shows how far it is.
        on_error: ``skip`` gives rows with status ``error`` instead of an exception.
        warm: This process's constants of the snapshot before, for plans with ``warm_start``; replaced by those of this.

    Raises:
        MeasurementError: If the measurement failed on any process; with the same message on every process.
    """
    keep_freed_memory()
    workers, progress = workers or Workers(), progress or NoProgress()
    started = time.perf_counter()

    def own() -> _Part:
        return _measured(plan, snapshot, workers if share else Workers(), replicate, progress, warm)

    try:
        part = workers.jointly(own)
        if share:
            part = _Part(part.data, workers.collect(part.results), workers.gather(part.quantities)[0])
        rows, traces = workers.jointly(lambda: _written(plan, snapshot, part, replicate))
    except MeasurementError as failure:
        if on_error == "raise":
            raise
        rows, traces = workers.gather(_error_rows(plan, snapshot, replicate, str(failure)))[0], []
    return Measured(rows, traces, time.perf_counter() - started)


@dataclass(frozen=True)
class _Part:
    """What one process measured, or all of them together."""

    data: str
    """Digest of the examples."""
    results: Sequence[Any]
    """One for each component: ``Estimated``, or a list of effects."""
    quantities: list[TaskQuantity]


def _measured(
    plan: Plan, snapshot: Snapshot, workers: Workers, replicate: int, progress: Progress, warm: Warm | None
) -> _Part:
    """Returns one process's share."""
    components = workers.share(plan.components_of(snapshot.loss.module))
    data = data_digest(snapshot.data, plan.examples)
    units = len(plan.jobs(components, data=data, replicate=replicate))
    if isinstance(plan, LLCPlan):
        units *= plan.settings.burn_in + plan.settings.draws
    with progress.task(f"{plan.kind} at step {snapshot.step}", units) as advance:
        if isinstance(plan, LLCPlan):
            return _Part(data, estimate(plan, snapshot, components, replicate=replicate, advance=advance), [])
        found = effects(plan, snapshot, components, advance=advance, warm=warm)
        return _Part(data, found, quantities(plan, snapshot) if workers.is_zero else [])


def _written(plan: Plan, snapshot: Snapshot, part: _Part, replicate: int) -> tuple[list[Row], list[Trace]]:
    if isinstance(plan, LLCPlan):
        rows = list(llc_rows(plan, snapshot, part.results, data=part.data, replicate=replicate))
        return rows, list(traces_of(plan, part.results, data=part.data, replicate=replicate))
    found = [effect for each in part.results for effect in each]
    rows = list(ablation_rows(plan, snapshot, found, data=part.data))
    return [*rows, *quantity_rows(plan, snapshot, part.quantities, data=part.data)], []


def _error_rows(plan: Plan, snapshot: Snapshot, replicate: int, message: str) -> list[Row]:
    """Returns the rows that stand for what could not be measured, with the keys of what will replace them."""
    try:
        components = plan.components_of(snapshot.loss.module)
    except LLCLightningError:
        return []
    details = encode_details({"error": message, "replicate": replicate})
    jobs = plan.jobs(components, data=data_digest(snapshot.data, plan.examples), replicate=replicate)
    return [Row(**snapshot.columns(**job.columns), value=math.nan, status="error", details=details) for job in jobs]
