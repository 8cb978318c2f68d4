"""AdamW with a learning rate that falls along a cosine, after a warm-up if asked for; and when models log."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, inf, pi

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from llc_lightning.runtime.errors import SettingError, at_least, not_negative, positive, unknown, unless_none

SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class OptimizerSettings:
    """Of AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101) and its learning rate.

    Raises:
        SettingError: If one of them is not allowed.
    """

    learning_rate: float
    """After the warm-up."""
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = "cosine"
    """``cosine``: the learning rate falls to 0 along a half cosine; ``constant``: it stays."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    total_steps: int | None = None
    """The length of the cosine; None for that of the training."""

    def __post_init__(self) -> None:
        positive(learning_rate=self.learning_rate)
        not_negative(weight_decay=self.weight_decay)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise SettingError(f"betas is {self.betas}; give two numbers from 0 up to, but not including, 1.")
        if self.schedule not in SCHEDULES:
            raise SettingError(unknown("schedule", self.schedule, SCHEDULES))
        at_least(0, warmup_steps=self.warmup_steps)
        at_least(1, **unless_none(total_steps=self.total_steps))

    def factor(self, step: int, total: int) -> float:
        """Returns what the learning rate is multiplied by at a step of ``total``."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        return (1 + cos(pi * min(1.0, done))) / 2


def adamw(
    parameters: Iterable[nn.Parameter],
    settings: OptimizerSettings,
    *,
    steps: int | float,
    told_by: str = "the trainer's max_steps",
) -> OptimizerLRScheduler:
    """Returns AdamW and its learning rate for Lightning.

    Args:
        parameters: What to train.
        settings: Of the optimizer.
        steps: The length of the training, and of the cosine where the settings do not say.
        told_by: Where ``steps`` comes from, for the error message.

    Raises:
        SettingError: If nothing says how long the cosine is.
    """
    total = steps if settings.total_steps is None else settings.total_steps
    if settings.schedule == "cosine" and not 1 <= total < inf:
        raise SettingError(f"the learning rate would fall to 0 over {total} steps; set {told_by}, or total_steps.")
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
    )
    # Torch's own cosine rises again behind its end, and keeps its old end in a training resumed for more steps.
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: settings.factor(step, int(total)))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def logs_now(module: L.LightningModule) -> bool:
    """Says whether Lightning keeps what the present training step logs.

    At other steps it throws it away, and logging there anyway would double the time of a small net's step.
    """
    every: int = getattr(module.trainer, "log_every_n_steps", 0)
    return every > 0 and (module.trainer.global_step + 1) % every == 0
