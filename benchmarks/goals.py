"""How a measured value is printed beside its goal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A bound on a measured value: at most or at least ``bound``."""

    bound: float
    at_least: bool = False

    def kept(self, value: float) -> bool:
        """Says whether the value is within the bound; NaN never is."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        """Returns the bound with its sign."""
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


def judged(value: float, goal: Goal | None, form: str = ".2f") -> tuple[str, bool]:
    """Returns a cell with the value, the goal and the verdict; and whether the goal is kept, if there is one."""
    if goal is None:
        return f"{value:{form}}", True
    kept = goal.kept(value)
    return f"{value:{form}} ({goal}: {'kept' if kept else 'missed'})", kept
