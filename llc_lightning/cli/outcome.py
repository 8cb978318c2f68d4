"""What a finished training says: what was written, how much of it can be trusted, what it cost, what to type next."""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L

from llc_lightning.analysis.timing import timing
from llc_lightning.callbacks.budget import budget_of
from llc_lightning.callbacks.frame import callbacks_of
from llc_lightning.cli.console import analyze, following
from llc_lightning.results.run import Run
from llc_lightning.results.store import part_name
from llc_lightning.results.timings import write_timing
from llc_lightning.runtime.status import is_failed, split


class Stopwatch(L.Callback):
    """Measures how long a training takes, measurements included, over all sessions that lead to its weights."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._before = 0.0
        self.seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Returns the time so far."""
        return {"seconds": self._before + time.perf_counter() - self._began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Counts on from the time of the checkpoint."""
        self._before = float(state_dict.get("seconds", 0.0))

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts."""
        self._began = time.perf_counter()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops."""
        self.seconds = self._before + time.perf_counter() - self._began


def outcome(folder: Path, trainer: L.Trainer) -> str:
    """Returns the lines that end a training."""
    run = Run.open(folder)
    rows = run.measurements()
    files = [f"{len(run.snapshots)} snapshots", f"{len(rows)} measured rows", f"{len(run.traces)} files of traces"]
    lines = [f"wrote {folder}: {', '.join(files)}"]
    if len(rows):
        lines.append(f"rows: {trust(rows['status'])}")
    seconds = sum(watch.seconds for watch in callbacks_of(trainer, Stopwatch))
    if seconds > 0:
        cost = timing(run.timings())
        measuring = cost.seconds - cost.beside
        write_timing(folder, part_name(trainer.global_step, "fit"), seconds=seconds)
        share = f", of which measuring {measuring:.0f} s ({measuring / seconds:.0%})"
        # A budget has told its own.
        lines.append(f"time: {seconds:.0f} s{'' if budget_of(trainer) else share}")
    # A report shows rows; where a budget has left out all of them there are snapshots alone.
    return "\n".join([*lines, following(analyze("report" if len(rows) or not run.snapshots else "measure", folder))])


def trust(statuses: Iterable[str]) -> str:
    """Returns how many rows are ok, flagged and failed, and for which reasons.

    Example:
        >>> trust(["ok", "not-local", "ok", "error", "not-local+not-mixed"])
        '2 ok, 2 flagged (not-local 2, not-mixed 1), 1 failed (error 1)'
    """
    every = list(statuses)
    bad = [status for status in every if status != "ok"]
    told = [f"{len(every) - len(bad)} ok"]
    for name, fails in (("flagged", False), ("failed", True)):
        group = [status for status in bad if is_failed(status) == fails]
        most = Counter(sorted(reason.name for status in group for reason in split(status))).most_common()
        why = f" ({', '.join(f'{reason} {n}' for reason, n in most)})" if most else ""
        told.append(f"{len(group)} {name}{why}")
    return ", ".join(told)
