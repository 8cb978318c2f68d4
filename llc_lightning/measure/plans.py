"""The contract of a plan: what is measured at a snapshot, in plain values that a config file can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from torch import nn

from llc_lightning.components.component import Component
from llc_lightning.measure.jobs import Job
from llc_lightning.runtime.errors import SettingError

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
