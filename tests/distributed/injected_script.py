"""What test_injected.py and the campaigns run: trainings of several processes, on one of which something goes wrong.

Each process writes what each training ended with: the message, the seconds since something went wrong, the last step.

Usage: python injected_script.py FOLDER PROCESSES RANK INJECTION...
"""

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[2]))

import lightning as L
import torch
from torch import Tensor, nn

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.runtime import peers, quarantine, workers
from llc_lightning.runtime.cadence import AtSteps
from tests.callbacks.plain import Digests, PlainModule, examples, loader, trainer

SHORT: dict[str, Any] = {"n_beta": 100.0, "gamma": 100.0, "chains": 2, "draws": 4, "burn_in": 2, "batch_size": 16}
STEP = 2
"""When something goes wrong."""


class Injected(PlainModule):
    """Goes wrong on one process at one step, while its loss is measured."""

    def __init__(self, injection: str, *, seen: int | None = None) -> None:
        super().__init__()
        del self.conv, self.norm
        self.first, self.out = nn.Linear(36, 8), nn.Linear(8, 3)
        self.register_buffer("scale", torch.ones(()))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape).sin() / 5)
        if seen is not None:  # of a type that gloo lacks, and a value that is no number: neither is for DDP
            self.register_buffer("seen", torch.tensor([seen], dtype=torch.int16))
            self.register_buffer("unknown", torch.tensor([torch.nan]))
            self._ddp_params_and_buffers_to_ignore = ["seen", "unknown"]
        self.injection = injection
        self.began = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.first(x.flatten(1)).relu())) * self.scale

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = super().per_example_loss(batch)
        if self.training or len(batch[0]) <= 8 or ARMED.get("step") != STEP:
            return loss
        return self._go_wrong(loss)

    def _go_wrong(self, loss: Tensor) -> Tensor:
        ARMED.setdefault("began", time.time())
        if self.injection == "exception":
            raise FloatingPointError("broken")
        if self.injection == "memory":
            raise torch.OutOfMemoryError("broken")
        if self.injection == "exit":
            sys.exit(3)
        if self.injection == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.injection == "slow":
            ARMED.pop("step")
            time.sleep(float(os.environ.get("SLOW", "5")))
        if self.injection == "pause":
            ARMED.pop("step")
            Path("pause").touch()  # somebody stops all processes now, and lets them go on
            time.sleep(2)
        if self.injection == "signal":
            ARMED.pop("step")
            signal.raise_signal(signal.SIGTERM)
        return loss * torch.nan if self.injection == "nan" else loss


class Lingers(L.Callback):
    """Ends seconds later than the other processes."""

    def on_train_end(self, *args: Any) -> None:
        time.sleep(2)


ARMED: dict[str, Any] = {}


class Arms(L.Callback):
    """Makes something go wrong at a step, before anything is measured there."""

    def __init__(self, injection: str) -> None:
        self.injection = injection

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        ARMED.pop("step", None)
        if trainer.global_step != STEP:
            return
        ARMED.update(step=STEP)
        if self.injection in ("weights", "quarantine", "gather", "examples"):
            ARMED["began"] = time.time()
        if self.injection == "weights":
            with torch.no_grad():
                next(pl_module.parameters()).view(-1)[0].add_(1e-6)


def refuse(*args: Any, **kwargs: Any) -> Any:
    """Stands for anything that needs memory."""
    if ARMED.get("step") == STEP:
        raise torch.OutOfMemoryError("broken")
    return REAL[str(kwargs.pop("real"))](*args, **kwargs)


REAL: dict[str, Any] = {
    "quarantine": quarantine._tensor,
    "packed": workers.packed,
    "unpacked": workers.unpacked,
}


def train(folder: Path, processes: int, where: int, injection: str, on_error: Literal["raise", "skip"]) -> None:
    """Trains once."""
    folder.mkdir(parents=True, exist_ok=True)
    ARMED.clear()
    L.seed_everything(3, verbose=False)
    x, y = examples(48)
    digests = Digests(folder / f"digests-{os.environ.get('LOCAL_RANK', '0')}")
    arms, when = Arms(""), AtSteps([1, STEP, 3])
    llc = LLCCallback(when, components=["all", "layers"], data=(x, y), step_size=1e-5, on_error=on_error, **SHORT)
    ablation = AblationCallback(when, methods="zero", components="layers", data=(x, y), on_error=on_error)
    callbacks = [arms, llc, ablation, digests]
    one = trainer(folder, callbacks, max_steps=4, devices=processes, strategy="ddp")
    rank = one.global_rank
    here = injection if rank == where else ""
    arms.injection = here
    if injection == "apart":
        peers.PERIOD, peers.GRACE = 0.1, 0.5
    if here == "apart":
        one.callbacks.append(Lingers())
    if here == "examples":
        llc.data = (x + 1, y)
    quarantine._tensor = (lambda one: refuse(one, real="quarantine")) if here == "quarantine" else REAL["quarantine"]
    # The first process packs nothing: it gets what the others pack.
    for name in ("packed", "unpacked"):
        setattr(workers, name, (lambda one, name=name: refuse(one, real=name)) if here == "gather" else REAL[name])
    told, began = "", time.time()
    module = Injected(here, seen=7 + rank if injection == "buffers" else None)
    try:
        one.fit(module, loader(batch_size=4, rank=rank, world_size=processes))
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
    ended = {"told": told, "ended": time.time(), "began": ARMED.get("began", 0.0), "step": one.global_step, "at": began}
    ended["seen"] = int(module.seen) if injection == "buffers" else 0
    (folder / f"ended-{rank}.json").write_text(json.dumps(ended))
    if told.startswith(("LostError", "Stopped")):
        sys.exit(1)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for each in sys.argv[4:]:
        named, _, how = each.partition(":")
        train(Path(sys.argv[1], each), int(sys.argv[2]), int(sys.argv[3]), named, "skip" if how else "raise")
