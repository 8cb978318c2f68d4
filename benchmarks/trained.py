"""Nets that are trained briefly, with the examples to measure on."""

from __future__ import annotations

import lightning as L
from torch import nn

from llc_lightning.runtime.batches import Batch


def trained(
    net: L.LightningModule, data: L.LightningDataModule, seed: int, **length: int
) -> tuple[L.LightningModule, Batch]:
    """Returns the net, trained, and the examples to measure on."""
    L.seed_everything(seed, verbose=False)
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    L.Trainer(accelerator="cpu", **quiet, **length).fit(net, data)  # pyright: ignore[reportArgumentType]
    return net, data.analysis_set()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
