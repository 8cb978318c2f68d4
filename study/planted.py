"""Measures a net whose neurons are written down: ``python -m study.planted --seed 0 --root checkpoints/study``."""

from __future__ import annotations

import argparse
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from llc_lightning import AblatedLLCCallback, AblationCallback, AtEnd, LLCCallback, PosteriorCallback, SnapshotCallback
from llc_lightning.models.planted import PlantedModel
from llc_lightning.runtime.seeding import generator

NAME = "planted_mixed"
_EXAMPLES = 8192
_N_BETA = (30.0, 300.0, 3000.0)


class Still(PlantedModel):
    """The net, which takes one step that leaves it as it is: it is at its minimum."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns the mean loss of a batch."""
        return self.per_example_loss(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns an optimizer that does nothing."""
        return torch.optim.SGD(self.parameters(), lr=0.0)


def measure(seed: int, root: Path) -> None:
    """Measures every score of every neuron."""
    L.seed_everything(seed)
    model = Still(seed=seed)
    data = model.sample(_EXAMPLES, generator(seed, "analysis"))
    sides = ["neurons", "neurons:in", "neurons:out"]
    trainer = L.Trainer(
        max_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        logger=TensorBoardLogger(str(root), name=f"{NAME}-{seed}", version=0),
        callbacks=[
            SnapshotCallback(AtEnd()),
            LLCCallback(
                AtEnd(), n_beta=_N_BETA, gamma=10.0, components=sides, data=data, chains=8, draws=100, burn_in=100,
                batch_size=64, replicates=2,
            ),
            AblatedLLCCallback(
                AtEnd(), n_beta=300.0, gamma=10.0, components="neurons", methods=["zero", "mean"], data=data, chains=8,
                draws=200, burn_in=150, batch_size=64, closure=True, examples=4096,
            ),
            PosteriorCallback(
                AtEnd(), n_beta=300.0, gamma=10.0, components="neurons", methods=["zero", "mean"], data=data, chains=8,
                draws=200, burn_in=150, batch_size=64,
            ),
            AblationCallback(
                AtEnd(), components="neurons", methods=["zero", "mean", "resample", "optimal"],
                attribution=["zero", "mean"], data=data, examples=4096,
            ),
        ],
    )  # fmt: skip
    trainer.fit(model, DataLoader(TensorDataset(*data), batch_size=64))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m study.planted", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, required=True)
    given = parser.parse_args()
    measure(given.seed, given.root)
