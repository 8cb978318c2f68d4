"""What a run logged for TensorBoard: its curves, and how long it ran."""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llc_lightning.analysis.stages import NAMES
from llc_lightning.analysis.table import numbers


@dataclass(frozen=True)
class Logged:
    """The curves of a run; none where nothing was logged."""

    metrics: dict[str, pd.DataFrame] = field(repr=False)
    """By the name under which they were logged, with the columns ``step`` and ``value``, sorted by step."""
    seconds: float
    """From the first to the last event of each event file, summed; 0 without events."""

    @property
    def loss(self) -> pd.DataFrame:
        """The finite values of the training loss; empty where it was not logged."""
        name = next((tag for tag in NAMES["loss"] if tag in self.metrics), "")
        curve = self.metrics.get(name, pd.DataFrame({"step": [], "value": []}, dtype=np.float64))
        return curve.loc[np.isfinite(numbers(curve, "value"))]


def read_events(folder: Path) -> Logged:
    """Returns what the event files of a run folder hold; a file cut off or damaged is read as far as it goes.

    A step that was logged twice, because a run was resumed, has the value that was logged last.
    """
    # TensorBoard has no type stubs.
    reader: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
    found: dict[str, list[tuple[float, int, float]]] = {}
    seconds = 0.0
    for path in sorted(folder.glob("events.out.tfevents.*")):
        events: Any = reader.EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        times: list[float] = []
        for tag in events.Tags()["scalars"]:
            points = [(float(one.wall_time), int(one.step), float(one.value)) for one in events.Scalars(tag)]
            found.setdefault(str(tag), []).extend(points)
            times += [time for time, _, _ in points]
        seconds += max(times) - float(events.FirstEventTimestamp()) if times else 0.0
    return Logged({tag: _curve(points) for tag, points in found.items()}, seconds)


def _curve(points: list[tuple[float, int, float]]) -> pd.DataFrame:
    last = {step: value for _, step, value in sorted(points, key=lambda point: point[0])}
    return pd.DataFrame({"step": sorted(last), "value": [last[step] for step in sorted(last)]}, dtype=np.float64)
