"""The contracts of a plan and of a kind of measurement, the table of kinds, and the one function that measures.

A plan says what is measured at a snapshot, in plain values that a config file can hold. A kind is a room of its own
beside this file: ``plan.py`` says what is measured, ``rows.py`` how it is measured and becomes rows, and registers
both. Its callback, which stands above, is registered under the same name.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from torch import nn

from llc_lightning.components.component import Component
from llc_lightning.measure.cost import Clock, Forecast
from llc_lightning.measure.jobs import Job, data_digest
from llc_lightning.measure.sharing import Piece, by_component, dealt
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.measure.units import told_in_full
from llc_lightning.results.schema import Row, encode_details, settings_hash
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.digest import tensor_digest
from llc_lightning.runtime.errors import LLCLightningError, MeasurementError, SettingError
from llc_lightning.runtime.progress import Advance, NoProgress, Progress
from llc_lightning.runtime.registry import Registry
from llc_lightning.runtime.signals import stop_if_asked
from llc_lightning.runtime.workers import Workers, one_sentence

if TYPE_CHECKING:
    import xarray as xr

_SHOWN = 3
_DRAWN = "give every process the same, drawn from the seed alone"
_SAME = {
    "examples": _DRAWN,
    "weights or buffers": _DRAWN,
    "components": "one of them could not look at the model as the other did, as where its memory is full",
}
"""What all processes must have alike, and what to do where they have not."""
TRAIN = "train"
"""The training loss, in the column ``loss``."""


@runtime_checkable
class Plan(Protocol):
    """What is measured at a snapshot; how is said by the kind of measurement that ``kind`` names."""

    kind: ClassVar[str]
    """A name in :data:`llc_lightning.measure.measurements.MEASUREMENTS`."""
    repeatable: ClassVar[bool]
    """Whether another set of random streams measures the same again: replicates."""

    @property
    def examples(self) -> int | None:
        """How many examples are measured on, from the first on; None for all."""
        ...

    @property
    def revision(self) -> int:
        """The revision of what it measures with: it rises whenever a row's value, error or status changes."""
        ...

    def fitted(self, n_examples: int) -> Plan:
        """Returns the plan for so many examples."""
        ...

    def components_of(self, module: nn.Module, data: Batch | None = None) -> list[Component]:
        """Returns what is measured of a module; with examples, words leave out what cannot be measured.

        Raises:
            AddressError: If an address names nothing.
            SettingError: If a component cannot be measured.
        """
        ...

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns every value to measure, all of one component after the other.

        Args:
            components: Of what.
            data: The digest of the examples.
            replicate: Number of the set of random streams.
        """
        ...

    @property
    def breadth(self) -> tuple[int, int]:
        """How many rungs it measures at, and by how many methods or of how many losses; 1 where it has none."""
        ...

    def narrowed(self, rungs: int, methods: int) -> Plan:
        """Returns the plan with the first of these alone; what is still measured has the same rows."""
        ...

    def cost(self, jobs: Sequence[Job]) -> int:
        """Returns how often measuring these jobs advances a progress bar, in units of about the same work."""
        ...

    def owns(self, quantity: str, loss: str) -> bool:
        """Says whether a row of a quantity and a loss stands for a job: others come beside."""
        ...


def check_each_once(**given: tuple[object, ...]) -> None:
    """Checks that values are there, and each once.

    Raises:
        SettingError: If not.
    """
    for name, values in given.items():
        if not values:
            raise SettingError(f"{name} is empty; give at least one.")
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise SettingError(f"{name} has {twice[0]!r} twice; give each once.")


P = TypeVar("P", bound=Plan)


class Measurement(ABC, Generic[P]):
    """How plans of one class are measured, by any number of processes, and what rows that gives."""

    @abstractmethod
    def measure(
        self,
        plan: P,
        snapshot: Snapshot,
        components: list[Component],
        *,
        replicate: int,
        advance: Advance,
        memory: Any,
    ) -> Sequence[Any]:
        """Returns what was measured of some components, an item for each: one process's share.

        Args:
            plan: What to measure.
            snapshot: Where.
            components: Of what.
            replicate: Number of the set of random streams.
            advance: Told how far it is.
            memory: What ``memory`` gave at the first snapshot; the share may change it.
        """

    @abstractmethod
    def rows(
        self, plan: P, snapshot: Snapshot, measured: Sequence[Any], once: Any, *, data: str, replicate: int
    ) -> Iterable[Row]:
        """Returns the rows of all components.

        Args:
            plan: What was measured.
            snapshot: Where.
            measured: The shares of all processes, in the order of the components.
            once: What ``once`` gave.
            data: The digest of the examples.
            replicate: Number of the set of random streams.
        """

    def pieces(self, plan: P, snapshot: Snapshot, components: Sequence[Component]) -> list[Piece]:
        """Returns the work in pieces that are worth a process of their own, those that share costs side by side.

        Args:
            plan: What to measure.
            snapshot: Where.
            components: Of what.
        """
        return [Piece((component,)) for component in components]

    def expect(self, snapshot: Snapshot, components: Sequence[Component]) -> None:
        """Hears of all components that this process is about to measure, piece by piece: what they share is found once.

        Args:
            snapshot: Where; what is found stays with it.
            components: Of what.
        """

    def joined(self, plan: P, measured: Sequence[Any]) -> Any:
        """Returns what was measured of one component, some rungs in each, as if it had been measured at once."""
        (whole,) = measured
        return whole

    def once(self, plan: P, snapshot: Snapshot) -> Any:
        """Returns what is measured once and not of a component, by the first process for all."""
        return None

    def traces(self, plan: P, measured: Sequence[Any], *, data: str, replicate: int) -> Iterable[Trace]:
        """Returns the kept draws behind the rows."""
        return ()

    def small(self, plan: P) -> P:
        """Returns the plan made as small as it can be, which a trial measures before anything is trained."""
        return plan

    def arrays(self, plan: P, snapshot: Snapshot, measured: Sequence[Any]) -> xr.Dataset | None:
        """Returns arrays beside the rows, with named axes; None where it has none."""
        return None

    def forecast(self, plan: P, snapshot: Snapshot, components: Sequence[Component], clock: Clock) -> Forecast | None:
        """Returns what measuring will cost, which costs a small part of it; None where that is not known.

        Args:
            plan: What is to be measured.
            snapshot: Where.
            components: Of what.
            clock: What tells the seconds.
        """
        return None

    def memory(self) -> Any:
        """Returns what one process keeps from snapshot to snapshot, empty; nobody else looks into it."""
        return None


@dataclass(frozen=True)
class MeasurementFacts:
    """What every kind of measurement says of itself when it is registered."""

    plan: type[Any]
    """The class of its plans."""
    quantities: tuple[str, ...]
    """The quantities of its rows, in :data:`llc_lightning.results.quantities.QUANTITIES`."""


MEASUREMENTS: Registry[Measurement[Any], MeasurementFacts] = Registry("kind of measurement", MeasurementFacts)
"""All kinds of measurement by name; importing a plan's room registers its kind."""


def measurement_of(plan: Plan) -> Measurement[Any]:
    """Returns how a plan is measured.

    Raises:
        SettingError: If its kind is not registered.
    """
    return MEASUREMENTS.get(plan.kind).item


@dataclass(frozen=True)
class Outcome:
    """What a plan gave at a snapshot, on the process that writes; on the others ``seconds`` alone, their own time."""

    rows: list[Row]
    traces: list[Trace] = field(default_factory=list[Trace])
    seconds: float = 0.0
    arrays: xr.Dataset | None = None


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
    only: Collection[str] | None = None,
) -> Outcome:
    """Returns the rows and traces of a plan at a snapshot, a pure function of both; every process must call it.

    The first process gets them. The others measure their share, and have an empty outcome.

    Args:
        plan: What to measure.
        snapshot: The weights, the data and the seed.
        workers: The processes; this one alone by default.
        share: Whether the processes share the components; otherwise each measures them all.
        replicate: Number of the set of random streams of a repeatable plan.
        progress: Shows how far it is.
        on_error: ``skip`` gives rows with status ``error`` instead of an exception, of the components that failed.
        memory: What ``measurement_of(plan).memory()`` gave, the same at every snapshot, where this process keeps what
            it likes between them; by default nothing is kept.
        only: The addresses of the components to measure, the same on every process; None for all of the plan's.

    Raises:
        MeasurementError: If the measurement failed on any process; with the same message on every process.
    """
    keep_freed_memory(snapshot.size)
    workers, progress = workers or Workers(), progress or NoProgress()
    started = time.perf_counter()
    sharing = workers if share else Workers()
    try:
        work = _agreed(plan, snapshot, only, workers, sharing)
        skips = on_error == "skip"
        measured = workers.jointly(lambda: _share(plan, snapshot, work, sharing, replicate, progress, memory, skips))
        if share:
            measured = replace(measured, results=workers.collect(measured.results))
        written = workers.on_zero(lambda: _written(plan, snapshot, measured, replicate))
    except MeasurementError as failure:
        if on_error == "raise":
            raise
        told = str(failure)
        written = workers.on_zero(lambda: _all_failed(plan, snapshot, replicate, told, only))
    rows, traces, arrays = written or ([], [], None)
    return Outcome(rows, traces, time.perf_counter() - started, arrays)


@dataclass(frozen=True)
class Work:
    """What there is to measure, the same on every process."""

    data: str
    """Digest of the examples."""
    components: list[Component]
    pieces: list[Piece]
    """Of all processes, to be dealt to them."""


def _agreed(plan: Plan, snapshot: Snapshot, only: Collection[str] | None, workers: Workers, sharing: Workers) -> Work:
    """Returns what there is to measure, once all processes are known to have the same examples, weights and pieces.

    Their rows are to be of one measurement, and each component in a row of one of them.

    Raises:
        MeasurementError: If they have not, with the same message on every process.
    """

    def own() -> tuple[Work, tuple[str, ...]]:
        components = components_at(plan, snapshot, only)
        pieces = undealt(plan, snapshot, components, sharing)
        work = Work(data_digest(snapshot.data, plan.examples), components, pieces)
        if workers.world_size == 1:
            return work, ()
        state = {**snapshot.params, **dict(snapshot.loss.module.named_buffers())}
        dealt_to_all = settings_hash({"pieces": [(piece.addresses, piece.n_beta, piece.shares) for piece in pieces]})
        return work, (work.data, tensor_digest(state), dealt_to_all)

    work, digests = workers.jointly(own)
    everywhere = workers.gather(digests)
    for at, (what, remedy) in enumerate(_SAME.items() if digests else ()):
        other = next((rank for rank, each in enumerate(everywhere) if each[at] != everywhere[0][at]), None)
        if other is not None:
            raise MeasurementError(
                f"rank {other} has other {what} to measure than rank 0 (digest {everywhere[other][at]}, not "
                f"{everywhere[0][at]}); {remedy}."
            )
    return work


@dataclass(frozen=True)
class Failed:
    """A component that could not be measured."""

    component: Component
    told: str
    """Why not."""


def apart(measure: Callable[[list[Component]], Sequence[Any]], components: list[Component]) -> list[Any]:
    """Returns what is measured of components, together where that works, else of halves, down to those that fail.

    A component's values do not depend on what is measured beside it.

    Args:
        measure: Returns what is measured of some components, an item for each.
        components: Of what.

    Returns:
        An item for each component; ``Failed`` where it alone cannot be measured.
    """
    try:
        return list(measure(components))
    except Exception as error:  # of whatever the module and torch raise
        if len(components) == 1:
            return [Failed(components[0], one_sentence(error))]
    half = len(components) // 2
    return [*apart(measure, components[:half]), *apart(measure, components[half:])]


@dataclass(frozen=True)
class Share:
    """What one process measured, or all of them together."""

    work: Work
    """All of it, whoever measures it."""
    results: Sequence[tuple[str, Any]]
    """Those of each component, with its address."""
    once: Any
    """What is of no component; on the first process alone."""


def _share(
    plan: Plan,
    snapshot: Snapshot,
    work: Work,
    workers: Workers,
    replicate: int,
    progress: Progress,
    memory: Any,
    skips: bool,
) -> Share:
    """Returns what this process measures."""
    kind = measurement_of(plan)
    memory = kind.memory() if memory is None else memory
    pieces = [(at_rungs(plan, each), list(each.components)) for each in dealt(work.pieces, workers)]
    cost = sum(each.cost(each.jobs(some, data=work.data, replicate=replicate)) for each, some in pieces)
    results: list[tuple[str, Any]] = []
    with progress.task(f"{plan.kind} at step {snapshot.step}", cost) as advance:
        stop_if_asked()
        kind.expect(snapshot, [component for _, together in pieces for component in together])
        for each, together in pieces:

            def measured(some: list[Component], each: Plan = each) -> Sequence[Any]:
                return kind.measure(each, snapshot, some, replicate=replicate, advance=advance, memory=memory)

            if skips:
                found = apart(measured, together)
            else:
                try:
                    found = measured(together)
                except LLCLightningError:
                    raise
                except Exception as error:  # of whatever the module and torch raise
                    workers.fail()  # the others need not finish
                    raise MeasurementError(
                        f"{one_sentence(error).rstrip('.')}{_where(plan, snapshot, together)}"
                    ) from error
            results += zip([component.address for component in together], found, strict=True)
        return Share(work, results, kind.once(plan, snapshot) if workers.is_zero else None)


def undealt(plan: Plan, snapshot: Snapshot, components: Sequence[Component], workers: Workers) -> list[Piece]:
    """Returns the pieces that the processes are dealt of some components; all in one where there is one process."""
    if workers.world_size == 1 or not components:
        return [Piece(tuple(components))] if components else []
    try:
        return measurement_of(plan).pieces(plan, snapshot, components)
    except Exception:  # of weights that cannot be measured; the measurement itself then tells of which
        return [Piece((component,)) for component in components]


def at_rungs(plan: Plan, piece: Piece) -> Plan:
    """Returns the plan at the rungs of a piece."""
    some: Any = plan
    return replace(some, n_beta=piece.n_beta) if piece.n_beta else plan


def _where(plan: Plan, snapshot: Snapshot, components: list[Component]) -> str:
    """Returns which components cannot be measured, as far as a little of each tells; else all of them, or the first."""
    kind = measurement_of(plan)

    def little(some: list[Component]) -> Sequence[Any]:
        return kind.measure(
            kind.small(plan), snapshot, some, replicate=0, advance=lambda n=1, note="": None, memory=kind.memory()
        )

    failed = [each.component for each in apart(little, components) if isinstance(each, Failed)] or components
    names = [each.address or "all" for each in failed]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" (measuring {', '.join(names[:_SHOWN])}{more})" if names else ""


def components_at(plan: Plan, snapshot: Snapshot, only: Collection[str] | None = None) -> list[Component]:
    """Returns what is measured at a snapshot; all that is named where a look at the examples fails.

    Args:
        plan: The plan.
        snapshot: The snapshot.
        only: The addresses to choose from; None for all.
    """
    try:
        found = plan.components_of(snapshot.loss.module, snapshot.data)
    except LLCLightningError:
        raise
    except Exception:  # of whatever the module raises when it is looked at; its components then tell one by one
        found = plan.components_of(snapshot.loss.module)
    return found if only is None else [component for component in found if component.address in only]


def _written(
    plan: Plan, snapshot: Snapshot, share: Share, replicate: int
) -> tuple[list[Row], list[Trace], xr.Dataset | None]:
    kind, data = measurement_of(plan), share.work.data
    results: list[Any] = []
    failed: list[Failed] = []
    for some in by_component(share.results, share.work.components):
        broken = [each for each in some if isinstance(each, Failed)]
        failed += broken[:1]
        results += [] if broken else [some[0] if len(some) == 1 else kind.joined(plan, some)]
    errors = [row for each in failed for row in _error_rows(plan, snapshot, each, data=data, replicate=replicate)]
    if not results:
        return errors, [], None
    rows = kind.rows(plan, snapshot, results, share.once, data=data, replicate=replicate)
    return (
        [*told_in_full(rows, snapshot.loss, replicate=_numbered(plan, replicate)), *errors],
        list(kind.traces(plan, results, data=data, replicate=replicate)),
        kind.arrays(plan, snapshot, results),
    )


def _all_failed(
    plan: Plan, snapshot: Snapshot, replicate: int, message: str, only: Collection[str] | None
) -> tuple[list[Row], list[Trace], xr.Dataset | None]:
    """Returns the rows that stand for a whole measurement that could not be made."""
    try:
        components = components_at(plan, snapshot, only)
    except LLCLightningError:
        return [], [], None
    data = data_digest(snapshot.data, plan.examples)
    failed = [Failed(component, message) for component in components]
    rows = [row for each in failed for row in _error_rows(plan, snapshot, each, data=data, replicate=replicate)]
    return rows, [], None


def _error_rows(plan: Plan, snapshot: Snapshot, failed: Failed, *, data: str, replicate: int) -> list[Row]:
    """Returns the rows that stand for what could not be measured, with the keys of what will replace them."""
    details = encode_details({"error": failed.told, "replicate": replicate})
    jobs = plan.jobs([failed.component], data=data, replicate=replicate)
    told: dict[str, Any] = {"value": math.nan, "status": "error", "details": details}
    told["replicate"] = _numbered(plan, replicate)
    return [Row(**snapshot.columns(**job.columns), **told) for job in jobs]


def _numbered(plan: Plan, replicate: int) -> int:
    """Returns the replicate that rows are of: what cannot be measured with other random numbers has one."""
    return replicate if plan.repeatable else 0
