"""When to measure: rules over optimizer steps and epochs, and a clock that remembers across accumulation and resume.

A rule is asked at the moments of a training run. A step is a number of optimizer updates done (Lightning's
``global_step``), never a number of batches. A rule that names a step is due at the first moment that has reached or
passed it, so that a callback which only looks after each validation, or an optimizer that advances by two, is late but
never misses.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from llc_lightning.runtime.errors import SettingError

_MANY_EPOCHS = 1000
"""A rule over epochs names one of so many."""
Event = Literal["start", "step", "epoch_end", "validation_end", "end"]


@dataclass(frozen=True)
class Moment:
    """A point of a training run at which a measurement may be made."""

    step: int
    """Optimizer updates done so far."""
    epoch: int
    """Number of the epoch in progress or, at ``epoch_end``, just finished; from 0."""
    event: Event
    """``start`` comes once before everything else (also on resume), ``step`` after each batch, ``end`` once at last."""
    max_steps: int | None = None
    """Updates that the whole training makes; None where that is not known."""

    def __post_init__(self) -> None:
        if self.step < 0 or self.epoch < 0 or (self.max_steps is not None and self.max_steps < 0):
            raise SettingError(
                f"a moment has step={self.step}, epoch={self.epoch}, max_steps={self.max_steps}; none may be negative "
                "(give max_steps=None where the end is not known)."
            )


@dataclass(frozen=True, kw_only=True)
class Cadence(ABC):
    """A rule for when to measure."""

    at_start: bool = False
    """Whether also before the first update of a run that starts at step 0."""
    at_end: bool = False
    """Whether also when training ends."""

    def due(self, moment: Moment, *, after: int | None = None) -> bool:
        """Says whether the rule asks for a measurement now.

        Rules over steps answer at every event but ``epoch_end``, rules over epochs at ``epoch_end`` alone.

        Args:
            moment: The moment it is.
            after: The last step that needs no answer any more: a rule is due when it names a step in
                ``(after, moment.step]``. By default only ``moment.step`` itself counts.

        Raises:
            SettingError: If the rule needs the end of the training and the moment does not know it.
        """
        if moment.event == "epoch_end":
            return self._due_epoch(moment.epoch)
        at_start = self.at_start and moment.event == "start" and moment.step == 0
        at_end = self.at_end and moment.event == "end"
        first = moment.step if after is None else after + 1
        steps = range(first if moment.event == "start" else max(first, 1), moment.step + 1)
        return at_start or at_end or self._due_steps(steps, moment.max_steps)

    def count(self, max_steps: int) -> int | None:
        """Returns at how many moments of a training of so many steps it is due; None where it follows epochs.

        Example:
            >>> LogSpaced(5, at_start=True).count(1000), Every(epochs=2).count(1000)
            (6, None)
        """
        moments = self.moments(max_steps)
        return None if moments is None else len(moments)

    def moments(self, max_steps: int) -> list[int] | None:
        """Returns the steps of a training of so many at which it is due; None where it follows epochs.

        Example:
            >>> LogSpaced(3, at_start=True).moments(100), Every(epochs=2).moments(100)
            ([0, 1, 10, 100], None)
        """
        if any(self._due_epoch(epoch) for epoch in range(_MANY_EPOCHS)):
            return None
        named = {step for step in range(max_steps + 1) if self._due_steps(range(step, step + 1), max_steps)}
        ends = [*([0] if self.at_start else []), *([max_steps] if self.at_end else [])]
        return sorted(named.union(ends))

    @abstractmethod
    def _due_steps(self, steps: range, max_steps: int | None) -> bool:
        """Says whether the rule names one of the consecutive ``steps``."""

    def _due_epoch(self, epoch: int) -> bool:
        return False


@dataclass(frozen=True)
class Every(Cadence):
    """Every so many steps (not at step 0), or at the end of every so many epochs.

    Args:
        steps: Optimizer updates between measurements.
        epochs: Epochs between measurements; give either this or ``steps``.
        at_start: Also before the first update.
        at_end: Also when training ends.

    Raises:
        SettingError: If not exactly one of ``steps`` and ``epochs`` is given, or it is below 1.

    Example:
        >>> [step for step in range(10) if Every(steps=4).due(Moment(step, 0, "step"))]
        [4, 8]
    """

    steps: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise SettingError(
                f"Every got steps={self.steps} and epochs={self.epochs}; give exactly one of them, "
                "and combine rules with AnyOf."
            )
        if (self.steps or self.epochs or 0) < 1:
            name, value = ("epochs", self.epochs) if self.steps is None else ("steps", self.steps)
            raise SettingError(f"Every got {name}={value}; it must be at least 1.")

    def _due_steps(self, steps: range, max_steps: int | None) -> bool:
        return self.steps is not None and any(step > 0 for step in _multiples(steps, self.steps))

    def _due_epoch(self, epoch: int) -> bool:
        return self.epochs is not None and (epoch + 1) % self.epochs == 0


@dataclass(frozen=True)
class LogSpaced(Cadence):
    """Steps whose logarithms are evenly spaced, rounded to distinct whole steps.

    Args:
        n: How many steps; all steps from first to last where there are fewer.
        first: The first step.
        last: The last step; by default the last step of the training.
        at_start: Also before the first update.
        at_end: Also when training ends.

    Raises:
        SettingError: If ``n`` or ``first`` is below 1, or ``last`` below ``first``.

    Example:
        >>> LogSpaced(5, first=1, last=16).named()
        (1, 2, 4, 8, 16)
    """

    n: int
    first: int = field(default=1, kw_only=True)
    last: int | None = field(default=None, kw_only=True)
    at_end: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.n < 1 or self.first < 1:
            raise SettingError(f"LogSpaced got n={self.n}, first={self.first}; both must be at least 1.")
        if self.last is not None and self.last < self.first:
            raise SettingError(
                f"LogSpaced got first={self.first}, last={self.last}; last must not be smaller than first."
            )

    def named(self, max_steps: int | None = None) -> tuple[int, ...]:
        """Returns the steps in rising order.

        Args:
            max_steps: The last step of the training, used where the rule has no ``last``.

        Raises:
            SettingError: If neither is known.
        """
        last = max_steps if self.last is None else self.last
        if last is None:
            raise SettingError(
                f"LogSpaced(n={self.n}) does not know where to end, since the training has no last step; "
                "give last=, or give the trainer max_steps or max_epochs."
            )
        return _log_spaced(self.n, self.first, last)

    def _due_steps(self, steps: range, max_steps: int | None) -> bool:
        return _any_within(self.named(max_steps), steps)


@dataclass(frozen=True)
class AtSteps(Cadence):
    """At the listed steps; order and repeats do not matter, and steps after the end of the training never come.

    Args:
        steps: Optimizer updates done; 0 is before the first update.
        at_start: Also before the first update.
        at_end: Also when training ends.

    Raises:
        SettingError: If no step is given or one is negative.
    """

    steps: Sequence[int]

    def __post_init__(self) -> None:
        if not self.steps or min(self.steps) < 0:
            raise SettingError(f"AtSteps got {list(self.steps)}; give at least one step, and none below 0.")
        object.__setattr__(self, "steps", tuple(sorted(set(self.steps))))

    def _due_steps(self, steps: range, max_steps: int | None) -> bool:
        return _any_within(self.steps, steps)


@dataclass(frozen=True)
class AtStart(Cadence):
    """Once, before the first update of a run that starts at step 0."""

    at_start: bool = field(default=True, init=False)
    at_end: bool = field(default=False, init=False)

    def _due_steps(self, steps: range, max_steps: int | None) -> bool:
        return False


@dataclass(frozen=True)
class AtEnd(Cadence):
    """Once, when training ends."""

    at_start: bool = field(default=False, init=False)
    at_end: bool = field(default=True, init=False)

    def _due_steps(self, steps: range, max_steps: int | None) -> bool:
        return False


@dataclass(frozen=True)
class AnyOf(Cadence):
    """Whenever one of several rules is due.

    Args:
        cadences: The rules.
        at_start: Also before the first update.
        at_end: Also when training ends.

    Raises:
        SettingError: If no rule is given.
    """

    cadences: Sequence[Cadence]

    def __post_init__(self) -> None:
        if not self.cadences:
            raise SettingError("AnyOf got no rule; give at least one cadence.")
        object.__setattr__(self, "cadences", tuple(self.cadences))
        object.__setattr__(self, "at_start", self.at_start or any(cadence.at_start for cadence in self.cadences))
        object.__setattr__(self, "at_end", self.at_end or any(cadence.at_end for cadence in self.cadences))

    def _due_steps(self, steps: range, max_steps: int | None) -> bool:
        return any(cadence._due_steps(steps, max_steps) for cadence in self.cadences)

    def _due_epoch(self, epoch: int) -> bool:
        return any(cadence._due_epoch(epoch) for cadence in self.cadences)


class Clock:
    """Asks a cadence at every moment of a run, and remembers what has been answered.

    It fires at most once per step and never for a step at or before the last one fired, also when hooks come several
    times per step (gradient accumulation) and across a resume, provided that its state is saved with the checkpoint and
    loaded before the ``start`` of the resumed run, and that every run begins with ``start``. The same clock can serve a
    second run from scratch: a ``start`` before the last step seen makes it forget.
    """

    def __init__(self, cadence: Cadence) -> None:
        self.cadence = cadence
        self._seen = -1
        self._fired = -1

    def fires(self, moment: Moment) -> bool:
        """Says whether to measure now; a yes is remembered as done.

        Raises:
            SettingError: If the rule needs the end of the training and the moment does not know it.
        """
        if moment.event == "start" and not 0 <= self._seen <= moment.step:  # never used, or started over
            self._seen, self._fired = moment.step - 1, -1
        due = self.cadence.due(moment, after=self._seen) and moment.step > self._fired
        if moment.event != "epoch_end":
            self._seen = max(self._seen, moment.step)
        if due:
            self._fired = moment.step
        return due

    def state_dict(self) -> dict[str, int]:
        """Returns what to save with a checkpoint."""
        return {"seen": self._seen, "fired": self._fired}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues from a saved state."""
        self._seen, self._fired = int(state["seen"]), int(state["fired"])


@lru_cache(maxsize=128)
def _log_spaced(n: int, first: int, last: int) -> tuple[int, ...]:
    n = min(n, last - first + 1)
    if n <= 1:
        return (last,) if n == 1 else ()
    steps: list[int] = []
    for i in range(n):
        ideal = round(first * (last / first) ** (i / (n - 1)))
        lowest = steps[-1] + 1 if steps else first
        highest = last - (n - 1 - i)
        steps.append(min(max(ideal, lowest), highest))
    return tuple(steps)


def _any_within(named: Sequence[int], steps: range) -> bool:
    """Says whether one of the rising ``named`` steps is in the range."""
    at = bisect_left(named, steps.start)
    return at < len(named) and named[at] < steps.stop


def _multiples(steps: range, n: int) -> range:
    return range(-(-steps.start // n) * n, steps.stop, n)
