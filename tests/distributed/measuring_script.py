"""What test_measuring.py runs: trainings of two processes with and without measurements, and one of a single process.

Each process writes the digests of its training after every batch, and what went wrong.

Usage: python measuring_script.py FOLDER PROCESSES VARIANT...
"""

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import lightning as L
from torch import Tensor, distributed

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.budget import BudgetCallback
from llc_lightning.callbacks.circuit import CircuitCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.measure.budget import Kept
from llc_lightning.runtime.cadence import AtSteps
from llc_lightning.runtime.errors import LLCLightningError
from tests.callbacks.plain import Digests, PlainModule, examples, loader, trainer, validation

SHORT: dict[str, Any] = {"n_beta": 100.0, "gamma": 100.0, "chains": 2, "draws": 4, "burn_in": 2, "batch_size": 16}


class Some(BudgetCallback):
    """Has two components of each measured; only the first process is asked."""

    def decide(self, trainer: L.Trainer, *given: Any, **more: Any) -> Kept:
        assert trainer.is_global_zero
        return Kept(1, 1, 2)


class Broken(PlainModule):
    """Fails on the second process, and only where it is measured."""

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if not self.training and len(batch[0]) > 8 and os.environ.get("LOCAL_RANK") == "1":
            raise FloatingPointError("chain 3 diverged")
        return super().per_example_loss(batch)


def measuring(budget: L.Callback | None = None, **settings: Any) -> list[L.Callback]:
    """Returns callbacks of every kind."""
    when, data = AtSteps([4], at_start=True), examples(48)
    components = ["all", "layers", "conv[1]"]
    return [
        *([budget] if budget else []),
        SnapshotCallback(when),
        LLCCallback(when, components=components, data=data, step_size=1e-5, **SHORT, **settings),
        AblationCallback(when, methods=["zero", "resample"], components="neurons", data=data, **settings),
        CircuitCallback(when, edges="out:input[*] -> out[0]", donor="mean", data=data, **settings),
    ]


VARIANTS: dict[str, tuple[type[PlainModule], dict[str, Any] | None]] = {
    "without": (PlainModule, None),
    "shared": (PlainModule, {}),
    "bounded": (PlainModule, {"budget": Some(1.0)}),
    "not shared": (PlainModule, {"share": False}),
    "broken, without": (Broken, None),
    "broken, skipped": (Broken, {"on_error": "skip"}),
    "broken, raised": (Broken, {}),
}


def train(folder: Path, processes: int, module: type[PlainModule], settings: dict[str, Any] | None) -> None:
    """Trains once."""
    folder.mkdir(parents=True, exist_ok=True)
    several: dict[str, Any] = {"devices": 2, "strategy": "ddp"} if processes == 2 else {}
    L.seed_everything(3, verbose=False)
    digests = Digests(folder / f"digests-{os.environ.get('LOCAL_RANK', '0')}")
    callbacks = [*([] if settings is None else measuring(**settings)), digests]
    one = trainer(folder, callbacks, max_steps=6, val_check_interval=3, accumulate_grad_batches=2, **several)
    rank = one.global_rank
    digests.path = folder / f"digests-{rank}"
    train_loader = loader(batch_size=4, rank=rank, world_size=processes)
    try:
        one.fit(module(), train_loader, validation())
    except LLCLightningError as error:
        (folder / f"error-{rank}").write_text(f"{time.time()} {error}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for variant in sys.argv[3:]:
        train(Path(sys.argv[1], variant), int(sys.argv[2]), *VARIANTS[variant])
    if distributed.is_initialized():
        distributed.destroy_process_group()
