"""The contracts of a plan and of a kind of measurement, and the table of kinds.

A plan says what is measured at a snapshot, in plain values that a config file can hold. A kind is a room of its own
beside this file: ``plan.py`` says what is measured, ``rows.py`` how it is measured and becomes rows, and registers
both. Its callback, which stands above, is registered under the same name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from torch import nn

from llc_lightning.components.component import Component
from llc_lightning.measure.jobs import Job
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.progress import Advance
from llc_lightning.runtime.registry import Registry

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

    def components_of(self, module: nn.Module) -> list[Component]:
        """Returns what is measured of a module.

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

    def cost(self, jobs: Sequence[Job]) -> int:
        """Returns how often measuring these jobs advances a progress bar, in units of about the same work."""
        ...

    def owns(self, quantity: str, loss: str) -> bool:
        """Says whether a row of a quantity and a loss stands for a job: others come beside."""
        ...


def check_each_once(name: str, values: tuple[object, ...]) -> None:
    """Checks that values are there, and each once.

    Raises:
        SettingError: If not.
    """
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

    def once(self, plan: P, snapshot: Snapshot) -> Any:
        """Returns what is measured once and not of a component, by the first process for all."""
        return None

    def traces(self, plan: P, measured: Sequence[Any], *, data: str, replicate: int) -> Iterable[Trace]:
        """Returns the kept draws behind the rows."""
        return ()

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
