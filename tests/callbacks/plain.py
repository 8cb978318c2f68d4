"""A small LightningModule that knows nothing of this package, its data, and the digest of a training's state."""

import hashlib
import random
import struct
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from llc_lightning.data.order import EpochLoader, EpochOrder, Pool


class PlainModule(L.LightningModule):
    """Convolution, batch norm and dropout, with random numbers in the training step besides."""

    def __init__(self, rate: float = 0.3) -> None:
        super().__init__()
        self.save_hyperparameters()
        generator = torch.Generator().manual_seed(7)
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(rate)
        self.out = nn.Linear(4 * 4 * 4, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.2, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.norm(self.conv(x)).relu()).flatten(1))

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1], reduction="none")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        noise = torch.randn_like(x) * random.random() * float(np.random.rand())  # noqa: NPY002, S311
        loss = self.per_example_loss((x + 0.1 * noise, y)).mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.per_example_loss(batch).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


class Digests(L.Callback):
    """Writes the digest of the state of the training after every batch to a file, one line for each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        with self.path.open("a") as file:
            file.write(f"{trainer.global_step} {digest(trainer, pl_module)}\n")

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()


def digest(trainer: L.Trainer, module: L.LightningModule) -> str:
    """Returns the SHA-256 of weights, buffers, gradients, optimizer state, random states, train flags and hooks."""
    sha = hashlib.sha256()
    tensors = [*module.state_dict().values()]
    tensors += [torch.zeros(0) if each.grad is None else each.grad for each in module.parameters()]
    for optimizer in trainer.optimizers:
        for state in optimizer.state_dict()["state"].values():
            tensors += [value for _, value in sorted(state.items()) if isinstance(value, Tensor)]
    for tensor in tensors:
        sha.update(tensor.detach().cpu().numpy().tobytes())
    sha.update(torch.get_rng_state().numpy().tobytes())
    sha.update(repr((random.getstate(), np.random.get_state(legacy=False))).encode())  # noqa: NPY002
    flags = [(part.training, len(part._forward_hooks), len(part._backward_hooks)) for part in module.modules()]
    sha.update(repr((flags, [each.requires_grad for each in module.parameters()])).encode())
    sha.update(struct.pack("?", torch.is_grad_enabled()))
    return sha.hexdigest()


def examples(n: int = 96, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 6, 6, generator=generator)
    return x, x.flatten(1).sum(1).sign().long() + 1


def loader(*, n: int = 96, batch_size: int = 8, rank: int = 0, world_size: int = 1) -> EpochLoader:
    """Returns shuffled training batches: 12 an epoch in one process."""
    order = EpochOrder(n, kind="shuffled", seed=0, rank=rank, world_size=world_size)
    return EpochLoader(Pool(examples(n)), order, items_per_batch=batch_size)


def validation() -> EpochLoader:
    return EpochLoader(Pool(examples(16, seed=1)), EpochOrder(16, kind="fixed", seed=0), items_per_batch=8)


def trainer(folder: Path, callbacks: list[L.Callback], **settings: Any) -> L.Trainer:
    """Returns a silent trainer on the CPU that writes below ``folder``."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
    }
    return L.Trainer(default_root_dir=folder, callbacks=callbacks, **{**defaults, **settings})


def fit(trainer: L.Trainer, *, ckpt_path: Path | None = None, module: L.LightningModule | None = None) -> PlainModule:
    """Trains from one seed, whatever was drawn before."""
    L.seed_everything(3, verbose=False)
    module = module or PlainModule()
    path = None if ckpt_path is None else str(ckpt_path)
    trainer.fit(module, loader(), validation(), ckpt_path=path, weights_only=None if path is None else True)
    return module
