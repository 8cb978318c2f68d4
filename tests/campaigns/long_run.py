"""Many measurements in one training: resident memory, open handles, files and bytes per event.

Usage: python -m tests.campaigns.long_run [EVENTS]
"""

import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.last import LastCheckpoint
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.runtime.cadence import Every
from tests.callbacks.plain import examples, fit, trainer

SHORT: dict[str, Any] = {"n_beta": 100.0, "gamma": 100.0, "chains": 2, "draws": 4, "burn_in": 1, "batch_size": 16}
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch(L.Callback):
    """Notes resident memory in MB, and open handles, after every event."""

    def __init__(self) -> None:
        self.memory: list[float] = []
        self.handles: list[int] = []

    def on_train_batch_end(self, *args: Any) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * _PAGE / 2**20)
        self.handles.append(len(list(Path("/proc/self/fd").iterdir())))


def long_run(folder: Path, events: int) -> dict[str, float]:
    """Returns what so many events cost; the first fifth, in which caches fill, is left out of the slope."""
    watch = Watch()
    when, common = Every(steps=1), {"data": examples(48)}
    callbacks: list[L.Callback] = [
        SnapshotCallback(when),
        LLCCallback(when, components=["all", "layers"], step_size=1e-5, preconditioner="none", **SHORT, **common),
        AblationCallback(when, methods=["zero", "resample"], components="conv", **common),
        LastCheckpoint(),
        watch,
    ]
    logger = TensorBoardLogger(folder, name="long", default_hp_metric=False)
    fit(trainer(folder, callbacks, max_steps=events, max_epochs=-1, logger=logger, enable_checkpointing=True))
    first = events // 5
    slope = float(np.polyfit(np.arange(first, events), watch.memory[first:], 1)[0])
    files = [path for path in folder.rglob("*") if path.is_file()]
    of_events = [path for path in files if path.name.startswith("events.")]
    return {
        "MB of memory per 100 events": 100 * slope,
        "handles at the beginning": watch.handles[first],
        "handles at the end": watch.handles[-1],
        "files per event": len(files) / events,
        "kB per event": sum(path.stat().st_size for path in files) / events / 1024,
        "kB of TensorBoard per event": sum(path.stat().st_size for path in of_events) / events / 1024,
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for name, value in long_run(Path(folder), int(sys.argv[1]) if sys.argv[1:] else 200).items():
            print(f"{name}: {value:.2f}")
