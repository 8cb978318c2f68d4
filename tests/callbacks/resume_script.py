"""What test_resume.py runs: a training and its continuations from checkpoints; prints the digests after every batch.

In a process of its own, since the checks of annotations that tests switch on draw random numbers themselves.

Usage: python resume_script.py FOLDER
"""

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import lightning as L

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.folder import LAST
from llc_lightning.callbacks.last import LastCheckpoint
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.callbacks.resume import ExactResume
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.runtime.cadence import AtSteps, Every
from tests.callbacks.plain import Digests, PlainModule, examples, fit, trainer

SETTINGS: dict[str, Any] = {"accumulate_grad_batches": 2, "enable_checkpointing": True, "max_epochs": 3}
SHORT: dict[str, Any] = {"n_beta": 100.0, "gamma": 100.0, "chains": 2, "draws": 4, "burn_in": 2, "step_size": 1e-5}


class CopyLast(L.Callback):
    """Keeps every ``last.ckpt`` under the step that it was written at."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        folder = Path(trainer.default_root_dir)
        copy = folder / f"{trainer.global_step}.ckpt"
        if not copy.exists():
            shutil.copy(folder / "llc_lightning" / LAST, copy)


def callbacks(folder: Path) -> list[L.Callback]:
    """Returns all that a run of the command line has."""
    folder.mkdir(parents=True)
    return [
        LLCCallback(AtSteps([8], at_end=True), data=examples(48), **SHORT),
        AblationCallback(Every(steps=3), methods="resample", components="conv", data=examples(48)),
        SnapshotCallback(Every(steps=4)),
        ExactResume(),
        LastCheckpoint(every_n_steps=1),
        Digests(folder / "digests"),
    ]


def main(folder: Path) -> None:
    """Trains once without and once with callbacks, and continues from every checkpoint."""
    without = Digests(folder / "without")
    fit(trainer(folder, [without], **{**SETTINGS, "enable_checkpointing": False}))
    whole = folder / "whole" / "run"
    fit(trainer(whole, [*callbacks(whole), CopyLast()], **SETTINGS))
    found = {"without": without.lines(), "whole": (whole / "digests").read_text().splitlines()}
    for step in (0, 4, 6, 11, 12):
        here = folder / f"from {step}" / "run"
        continued = callbacks(here)
        # As if killed there: what was measured before is in the folder already.
        shutil.copytree(whole / "llc_lightning", here / "llc_lightning")
        L.seed_everything(99, verbose=False)
        fit(trainer(here, continued, **SETTINGS), ckpt_path=whole / f"{step}.ckpt", module=PlainModule())
        found[str(step)] = (here / "digests").read_text().splitlines()
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
