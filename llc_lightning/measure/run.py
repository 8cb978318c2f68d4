"""The one function that measures: a plan at a snapshot, shared by all processes."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llc_lightning.measure.jobs import data_digest
from llc_lightning.measure.measurements import Plan, measurement_of
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.errors import LLCLightningError, MeasurementError
from llc_lightning.runtime.progress import NoProgress, Progress
from llc_lightning.runtime.workers import Workers


@dataclass(frozen=True)
class Outcome:
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
    memory: Any = None,
) -> Outcome:
    """Returns the rows and traces of a plan at a snapshot, a pure function of both; every process must call it.

    Args:
        plan: What to measure.
        snapshot: The weights, the data and the seed.
        workers: The processes; this one alone by default.
        share: Whether the processes share the components; otherwise each measures them all.
        replicate: Number of the set of random streams of a repeatable plan.
        progress: Shows how far it is.
        on_error: ``skip`` gives rows with status ``error`` instead of an exception.
        memory: What ``measurement_of(plan).memory()`` gave, the same at every snapshot, where this process keeps what
            it likes between them; by default nothing is kept.

    Raises:
        MeasurementError: If the measurement failed on any process; with the same message on every process.
    """
    keep_freed_memory()
    workers, progress = workers or Workers(), progress or NoProgress()
    started = time.perf_counter()

    def own() -> Share:
        return _share(plan, snapshot, workers if share else Workers(), replicate, progress, memory)

    try:
        measured = workers.jointly(own)
        if share:
            measured = Share(measured.data, workers.collect(measured.results), workers.gather(measured.once)[0])
        rows, traces = workers.jointly(lambda: _written(plan, snapshot, measured, replicate))
    except MeasurementError as failure:
        if on_error == "raise":
            raise
        rows, traces = workers.gather(_error_rows(plan, snapshot, replicate, str(failure)))[0], []
    return Outcome(rows, traces, time.perf_counter() - started)


@dataclass(frozen=True)
class Share:
    """What one process measured, or all of them together."""

    data: str
    """Digest of the examples."""
    results: Sequence[Any]
    """One for each component."""
    once: Any
    """What is of no component; of the first process alone."""


def _share(plan: Plan, snapshot: Snapshot, workers: Workers, replicate: int, progress: Progress, memory: Any) -> Share:
    """Returns what this process measures."""
    kind = measurement_of(plan)
    memory = kind.memory() if memory is None else memory
    components = workers.share(plan.components_of(snapshot.loss.module))
    data = data_digest(snapshot.data, plan.examples)
    cost = plan.cost(plan.jobs(components, data=data, replicate=replicate))
    with progress.task(f"{plan.kind} at step {snapshot.step}", cost) as advance:
        results = kind.measure(plan, snapshot, components, replicate=replicate, advance=advance, memory=memory)
        return Share(data, results, kind.once(plan, snapshot) if workers.is_zero else None)


def _written(plan: Plan, snapshot: Snapshot, share: Share, replicate: int) -> tuple[list[Row], list[Trace]]:
    kind, data = measurement_of(plan), share.data
    rows = kind.rows(plan, snapshot, share.results, share.once, data=data, replicate=replicate)
    return list(rows), list(kind.traces(plan, share.results, data=data, replicate=replicate))


def _error_rows(plan: Plan, snapshot: Snapshot, replicate: int, message: str) -> list[Row]:
    """Returns the rows that stand for what could not be measured, with the keys of what will replace them."""
    try:
        components = plan.components_of(snapshot.loss.module)
    except LLCLightningError:
        return []
    details = encode_details({"error": message, "replicate": replicate})
    jobs = plan.jobs(components, data=data_digest(snapshot.data, plan.examples), replicate=replicate)
    return [Row(**snapshot.columns(**job.columns), value=math.nan, status="error", details=details) for job in jobs]
