"""Measures the snapshots of a run through the same function as the callbacks: the same rows, to the byte."""

import warnings
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import nn

from llc_lightning.components.loss import loss_fn
from llc_lightning.components.skeleton import independent_copy
from llc_lightning.measure.jobs import Job, data_digest
from llc_lightning.measure.keep import keep, part_of
from llc_lightning.measure.measurements import Plan, measure, measurement_of
from llc_lightning.measure.snapshot import Snapshot, restore
from llc_lightning.results.claims import claim
from llc_lightning.results.run import Run, run_name
from llc_lightning.results.schema import KEY
from llc_lightning.results.snapshots import load_snapshot, lost_snapshots, snapshot_epoch
from llc_lightning.results.store import Store
from llc_lightning.results.training import forks, forks_before
from llc_lightning.runtime.batches import Batch, n_examples
from llc_lightning.runtime.errors import LLCLightningError, MeasurementError, SettingError, SnapshotError, StoreError
from llc_lightning.runtime.progress import Progress
from llc_lightning.runtime.quarantine import quarantine
from llc_lightning.runtime.workers import Workers, one_sentence

T = TypeVar("T")


def measure_snapshots(
    module: nn.Module,
    data: Batch,
    plans: Mapping[str, Plan],
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    seed: int | None = None,
    replicates: int = 1,
    traces: bool = True,
    again: bool = False,
    out: Path | None = None,
    workers: Workers | None = None,
    share: bool = True,
    progress: Progress | None = None,
    parts: Collection[str] | None = None,
) -> list[Path]:
    """Measures snapshots of a run and writes what the callbacks would have written; every process must call it.

    What another call is at work on is left to it: each part is claimed first, and a claim ends with its process.

    Args:
        module: A module of the run's architecture, on the device to measure on; it is left as it is.
        data: The examples to measure on.
        plans: What to measure, by the name that a callback would have.
        run: The run.
        steps: The snapshots to measure; all of them by default.
        seed: Keys all random numbers; by default that of the run.
        replicates: Sets of random streams for repeatable plans at the last snapshot of the run.
        traces: Whether to keep every draw of every chain.
        again: Measure also what is measured already, and replace what was measured with other settings.
        out: Write to this folder instead of the run's own.
        workers: The processes that share the work; this one alone by default.
        share: Whether they share the components; otherwise each measures them all.
        progress: Shows how far it is.
        parts: The parts to measure, as ``part_of`` names them; all by default.

    Returns:
        The files that were written, on every process.

    Raises:
        SnapshotError: If there is no snapshot of a step.
        SettingError: If the run does not tell its seed, the module has no per-example loss, or measurements with other
            settings would be lost.
        AddressError: If a component is not in the module.
        DataError: If the data is not usable.
        MeasurementError: If a snapshot is damaged or of another model, or measuring or writing failed on any process;
            with the same message on every process.
    """
    workers, folder = workers or Workers(), out or run.folder
    loss_fn(module)
    fitted = {name: plan.fitted(n_examples(data)) for name, plan in plans.items()}
    known = _first(workers, lambda: len(forks(run.folder)))
    chosen = _first(workers, lambda: _chosen(run, steps))

    def lacking() -> list[_Planned]:
        last = max(run.snapshots, default=0)
        return [
            measurement
            for name, plan in fitted.items()
            for measurement in _measurements(name, plan, module, data, chosen, last, replicates)
            if (parts is None or measurement.part in parts) and (again or not measurement.is_there(folder))
        ]

    todo = _first(workers, lacking)
    given = seed
    seed = _first(workers, lambda: seed_of(run) if given is None else given)
    copy = independent_copy(module)
    written: list[Path] = []
    memories = {name: measurement_of(plan).memory() for name, plan in fitted.items()}
    for step, path in chosen.items():
        here = [measurement for measurement in todo if measurement.step == step]
        if not here or not _first(workers, lambda step=step, path=path: _is_current(run, step, path, known)):
            continue
        workers.jointly(lambda path=path: restore(copy, load_snapshot(path), source=str(path)))

        def snapshot(step: int = step, path: Path = path) -> Snapshot:
            return Snapshot.of(copy, data, run=run_name(folder), seed=seed, step=step, epoch=snapshot_epoch(path))

        for measurement in here:
            with quarantine(copy), _claimed(workers, folder, measurement, again=again) as mine:
                if not mine:
                    continue
                outcome = measure(
                    measurement.plan,
                    snapshot(),
                    workers=workers,
                    share=share,
                    replicate=measurement.replicate,
                    progress=progress,
                    memory=memories[measurement.name],
                )
                files = workers.on_zero(
                    lambda part=measurement.part, outcome=outcome, step=step, path=path: (
                        keep(folder, part, outcome, step=step, traces=traces, processes=workers.world_size, beside=True)
                        if _is_current(run, step, path, known)
                        else []
                    )
                )
            written += workers.gather(files)[0] or []
    return written


def _first(workers: Workers, do: Callable[[], T]) -> T:
    """Returns what ``do`` returns on the first process, on all: each could see another folder while others write to it.

    Raises:
        LLCLightningError: What it raises there.
    """
    told: list[T] = []
    error: LLCLightningError | None = None
    if workers.is_zero:
        try:
            told = [do()]
        except LLCLightningError as raised:
            error = raised
        except Exception as raised:  # whatever it is, the others wait for it
            error = MeasurementError(one_sentence(raised))
    told, error = workers.gather((told, error))[0]
    if error is not None:
        raise error
    return told[0]


def _is_current(run: Run, step: int, path: Path, known: int) -> bool:
    """Says whether a snapshot is still of the branch that the training is on."""
    current = path.is_file() and not forks_before(run.folder, step, known)
    if not current:
        warnings.warn(
            f"the training has gone back to before step {step}, which is not measured any more.", stacklevel=2
        )
    return current


@contextmanager
def _claimed(workers: Workers, folder: Path, measurement: "_Planned", *, again: bool) -> Generator[bool]:
    """Yields whether a measurement is for these processes to make, which have claimed it."""
    held = workers.on_zero(lambda: claim(folder, measurement.part))
    try:
        mine = workers.on_zero(lambda: held is not None and (again or not measurement.is_there(folder)))
        yield bool(workers.gather(mine)[0])
    finally:
        if held:
            held.release()


@dataclass(frozen=True)
class _Planned:
    """One plan at one snapshot."""

    name: str
    part: str
    step: int
    plan: Plan
    replicate: int
    jobs: tuple[Job, ...]

    def is_there(self, folder: Path) -> bool:
        """Says whether its rows are in the table already.

        Raises:
            SettingError: If its part holds rows that it would not give again.
        """
        if self.part not in Store(folder).parts():
            return False
        try:
            rows = Store(folder).read_part(self.part)
        except StoreError:
            return False
        rows = rows[rows["status"] != "error"]
        owned = [self.plan.owns(*names) for names in rows[["quantity", "loss"]].itertuples(index=False, name=None)]
        rows = rows[np.array(owned, dtype=bool)]
        # Without the run's name, since a folder may have been moved.
        found = set(rows[list(KEY[1:])].itertuples(index=False, name=None))
        keys = {job.key(run="", step=self.step)[1:] for job in self.jobs}
        if found - keys:
            raise SettingError(
                f"{self.part} of {folder} was measured with other settings, components or examples, and would be lost; "
                "write to another folder (out, --out), or replace it (again, --again)."
            )
        return keys <= found


def _measurements(
    name: str,
    plan: Plan,
    module: nn.Module,
    data: Batch,
    chosen: Mapping[int, Path],
    last: int,
    replicates: int,
) -> Iterator[_Planned]:
    components, digest = plan.components_of(module, data), data_digest(data, plan.examples)
    for step in chosen:
        for replicate in range(replicates if step == last and plan.repeatable else 1):
            jobs = tuple(plan.jobs(components, data=digest, replicate=replicate))
            part = part_of(step, name, replicate=replicate, revision=plan.revision)
            yield _Planned(name, part, step, plan, replicate, jobs)


def _chosen(run: Run, steps: Sequence[int] | None) -> dict[int, Path]:
    there, gone = run.snapshots, lost_snapshots(run.folder)
    if not there:
        raise SnapshotError(
            f"{run.folder} has no snapshots to measure{_told_lost(gone)}; train with snapshots switched on, or with a "
            "SnapshotCallback."
        )
    if steps is None:
        if gone:
            warnings.warn(f"{run.folder} is measured without some steps{_told_lost(gone)}.", stacklevel=5)
        return there
    missing = sorted(set(steps) - set(there))
    if missing:
        told = _told_lost([missing[0]]) if missing[0] in gone else ""
        raise SnapshotError(
            f"{run.folder} has no snapshot of step {missing[0]}{told}; it has those of {', '.join(map(str, there))}."
        )
    return {step: there[step] for step in sorted(set(steps))}


def _told_lost(steps: Sequence[int]) -> str:
    """Returns the part of a sentence about snapshots that are gone; '' where none is."""
    if not steps:
        return ""
    return f": the manifest lists snapshots that are gone, of {', '.join(map(str, steps))}; restore them from a copy"


def seed_of(run: Run) -> int:
    """Returns the seed that keys a run's random numbers: of its measurements, or where there are none of its training.

    Raises:
        SettingError: If the run does not tell it.
    """
    for record in reversed(run.provenance):
        if "run" in record.get("seeds", {}):
            return int(record["seeds"]["run"])
    given = run.config.get("seed_everything")
    if type(given) is int:  # true asks for any seed
        return given
    raise SettingError(f"{run.folder} does not tell its seed; give seed.")
