"""CPU time of several things in one process, in turns, so that a busy machine slows them all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

ROUNDS = 9


def cpu_seconds(things: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Returns the CPU seconds of every round of every thing; each is called once before, uncounted."""
    for thing in things.values():
        thing()
    seconds: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(rounds):
        for name, thing in things.items():
            started = time.process_time()
            thing()
            seconds[name].append(time.process_time() - started)
    return seconds


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float:
    """Returns the median over rounds of the ratio of two things within a round."""
    return median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))
