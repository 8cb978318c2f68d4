"""What a measurement costs, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Tells seconds."""

MINIBATCH = 64
"""What a full batch is compared with."""


@dataclass(frozen=True)
class Forecast:
    """What a measurement will cost one process, in seconds."""

    once: float
    """Of what is measured once, and not of a component."""
    components: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of all jobs of a component, by its address."""
    with_minibatches: float | None = None
    """What it would cost all in all with :data:`MINIBATCH` examples a step; None where that was not asked."""

    @property
    def seconds(self) -> float:
        """All in all."""
        return self.once + sum(self.components.values())

    def times(self, number: float | int) -> Forecast:
        """Returns the cost of so many of it."""
        lighter = None if self.with_minibatches is None else number * self.with_minibatches
        return Forecast(number * self.once, {at: number * some for at, some in self.components.items()}, lighter)


def duration(seconds: float) -> str:
    """Returns a time in words.

    Example:
        >>> [duration(seconds) for seconds in (0.3, 9.6, 140.0, 8000.0)]
        ['under a second', '10 s', '2 min', '2.2 h']
    """
    if seconds < 1:
        return "under a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
