"""Nets whose true circuit is known: one wired by hand, and two trained to work whatever all other heads say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.zoo import trained
from benchmarks.zoo_rows import Training
from llc_lightning.cli.offline import restored
from llc_lightning.components.loss import ModuleLoss, loss_fn, snapshot_params
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.base import Sequences, SequenceTask
from llc_lightning.data.sequences.induction import Induction
from llc_lightning.data.sequences.ioi import IndirectObject
from llc_lightning.models.hand_built import TASK, hand_built_induction
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.results.run import RUNS
from llc_lightning.runtime.batches import Params

SEEDS = (0, 1, 2)
TASKS: dict[str, SequenceTask] = {"hand_built": TASK, "induction_strict": Induction(), "ioi_strict": IndirectObject()}
"""What every net does."""


@dataclass(frozen=True)
class Net:
    """A net, and what is known of its edges."""

    name: str
    loss: ModuleLoss
    params: Params
    truth: dict[str, str]

    def data(self, n: int, seed: int) -> Sequences:
        """Returns examples that no training has seen."""
        task = TASKS[self.name.split("-")[0]]
        return SequenceData(task, analysis_size=n, seed=1000 + seed).analysis_set()


@cache
def net(name: str, seed: int = 0) -> Net:
    """Returns a net; what is trained once stays in ``checkpoints/``.

    Args:
        name: ``hand_built``, ``induction_strict`` or ``ioi_strict``.
        seed: Of the training.
    """
    if name == "hand_built":
        model = hand_built_induction(seed)
        return Net(name, loss_fn(model), snapshot_params(model), model.ground_truth(edges=True))
    found = trained(Training(f"circuits_{name}", name, ()), seed, Path(RUNS))
    if found is None:
        raise RuntimeError(f"{name} of seed {seed} could not be trained; its error is told above.")
    snapshot = restored(found.run.folder)
    model = snapshot.loss.module
    if not isinstance(model, TransformerModel):
        raise TypeError(f"{name} is a {type(model).__name__}")
    return Net(f"{name}-{seed}", snapshot.loss, snapshot.params, model.ground_truth(edges=True))


if __name__ == "__main__":
    for name in TASKS:
        for seed in SEEDS if name != "hand_built" else (0,):
            print(net(name, seed).name, flush=True)
