"""The contract of a kind of measurement, and the table of kinds.

A kind is a room of its own beside this file: ``plan.py`` says what is measured, ``rows.py`` how it is measured and
becomes rows, ``measurement.py`` registers the two. Its callback, which stands above, is registered under the same name.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llc_lightning.components.component import Component
from llc_lightning.measure.plans import Plan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.progress import Advance
from llc_lightning.runtime.registry import Registry

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
