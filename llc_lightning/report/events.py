"""What a run logged for TensorBoard: its training curve, and how long it ran."""

import math
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LOSS_TAGS = ("train/loss", "train_loss", "loss", "train/loss_step", "train_loss_step", "train/loss_epoch")
"""Names under which modules log their training loss, in the order of preference."""


@dataclass(frozen=True)
class Logged:
    """The training curve of a run; empty where nothing was logged."""

    loss: pd.DataFrame = field(repr=False)
    """Columns ``step`` and ``value``, sorted by step."""
    seconds: float
    """From the first to the last event of each event file, summed; 0 without events."""


def read_events(folder: Path) -> Logged:
    """Returns what the event files of a run folder hold; a file cut off or damaged is read as far as it goes.

    A step that was logged twice, because a run was resumed, has the value that was logged last.
    """
    # TensorBoard has no type stubs.
    reader: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
    found: list[tuple[int, float, float]] = []
    seconds = 0.0
    for path in sorted(folder.glob("events.out.tfevents.*")):
        events: Any = reader.EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        tags = list(events.Tags()["scalars"])
        scalars = {tag: events.Scalars(tag) for tag in tags}
        start = float(events.FirstEventTimestamp()) if tags else 0.0
        seconds += max((float(one.wall_time) - start for some in scalars.values() for one in some), default=0.0)
        tag = next((name for name in LOSS_TAGS if name in scalars), "")
        found += [(int(one.step), float(one.value), float(one.wall_time)) for one in scalars.get(tag, [])]
    last = {step: value for step, value, _ in sorted(found, key=lambda one: one[2]) if math.isfinite(value)}
    loss = pd.DataFrame({"step": sorted(last), "value": [last[step] for step in sorted(last)]}, dtype=np.float64)
    return Logged(loss, seconds)


def read_metrics(folder: Path) -> dict[str, pd.DataFrame]:
    """Returns every curve that the event files of a run folder hold, by name, with the columns ``step`` and ``value``.

    A step that was logged twice, because a run was resumed, has the value that was logged last.
    """
    reader: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        events: Any = reader.EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            curve = found.setdefault(str(tag), {})
            for one in events.Scalars(tag):
                known = curve.get(int(one.step), (-math.inf, 0.0))
                curve[int(one.step)] = max(known, (float(one.wall_time), float(one.value)))
    return {
        tag: pd.DataFrame({"step": sorted(curve), "value": [curve[step][1] for step in sorted(curve)]})
        for tag, curve in found.items()
    }
