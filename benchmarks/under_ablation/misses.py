"""By how much values are off, in their standard errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import hypot, inf, isfinite

from llc_lightning.results.schema import Row

_ROUNDING = 1e-3
"""Of a coefficient in single precision: two that are the same may differ by so much without an error."""


@dataclass(frozen=True)
class Off:
    """By how much a measured value is off what it must be, and its standard error."""

    miss: float
    stderr: float

    @classmethod
    def of(cls, row: Row, wanted: float = 0.0) -> Off:
        """Returns it of a row."""
        return cls(row.value - wanted, row.stderr)

    @classmethod
    def outside(cls, change: Row, own: Row) -> Off:
        """Returns by how much a change lies outside of what is from minus another coefficient to 0; 0 for inside."""
        if change.value > 0:
            return cls.of(change)
        below = change.value + own.value
        return cls(min(below, 0.0), hypot(change.stderr, own.stderr))

    @property
    def errors(self) -> float:
        """How many errors it is off; infinitely many where it is no number, or off without an error."""
        if abs(self.miss) <= _ROUNDING:
            return 0.0
        return abs(self.miss) / self.stderr if isfinite(self.miss) and self.stderr > 0 else inf


def within(some: Iterable[Off], errors: float) -> float:
    """Returns the share of values that are off by at most so many errors."""
    held = [one.errors <= errors for one in some]
    return sum(held) / len(held)


def verdict(kept: bool) -> str:
    """Returns what is printed behind a line where what is asked is missed."""
    return "" if kept else " MISSED"
