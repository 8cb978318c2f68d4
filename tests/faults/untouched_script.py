"""What test_untouched.py runs: one training with and without measurements; prints the digests after every batch.

In a process of its own, since the checks of annotations that tests switch on draw random numbers themselves.

Usage: python untouched_script.py FOLDER
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import lightning as L
import torch
from torch import Tensor

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.runtime.cadence import Every
from tests.callbacks.plain import Digests, PlainModule, examples, fit, trainer

SHORT: dict[str, Any] = {
    "n_beta": 100.0,
    "gamma": 100.0,
    "chains": 2,
    "draws": 4,
    "burn_in": 2,
    "batch_size": 16,
    "step_size": 1e-5,
}
CALLS: list[int] = []


class Breaking(PlainModule):
    """Fails in the middle of a measurement, after it has drawn random numbers and left a hook and a train flag."""

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if not self.training:
            CALLS.append(1)
            torch.rand(3)
            if len(CALLS) % 5 == 0:
                self.conv.register_forward_hook(lambda *args: None)
                self.train()
                raise FloatingPointError("half-way")
        return super().per_example_loss(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val/loss", PlainModule.per_example_loss(self, batch).mean())


def measuring(at: Any, on_error: Any = "raise") -> list[L.Callback]:
    """Returns callbacks of every kind, at moments of every kind."""
    when = Every(steps=6, at_start=True, at_end=True)
    common: dict[str, Any] = {"data": examples(48), "at": at, "on_error": on_error}
    return [
        LLCCallback(when, components=["all", "layers"], replicates=2, **SHORT, **common),
        AblationCallback(when, methods=["zero", "resample"], components=["neurons"], **common),
        LLCCallback(Every(epochs=1), name="epochs", preconditioner="hutchinson", **SHORT, **common),
        SnapshotCallback(when),
    ]


def main(folder: Path) -> None:
    """Trains in every variant."""
    variants: dict[str, tuple[type[PlainModule], list[L.Callback]]] = {
        "without": (PlainModule, []),
        "from batch end": (PlainModule, measuring("batch")),
        "from validation end": (PlainModule, measuring("validation")),
        "breaking, without": (Breaking, []),
        "breaking, from batch end": (Breaking, measuring("batch", "skip")),
        "breaking, from validation end": (Breaking, measuring("validation", "skip")),
    }
    found: dict[str, list[str]] = {}
    for name, (module, callbacks) in variants.items():
        here = folder / name
        here.mkdir(parents=True)
        digests = Digests(here / "digests")
        L.seed_everything(3, verbose=False)
        fit(
            trainer(here, [*callbacks, digests], accumulate_grad_batches=4, val_check_interval=6, max_epochs=3),
            module=module(),
        )
        found[name] = digests.lines()
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
