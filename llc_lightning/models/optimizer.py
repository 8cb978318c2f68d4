"""AdamW with a learning rate that falls along a cosine, after a warm-up where that is asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, pi

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from llc_lightning.runtime.errors import SettingError, unknown

SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class OptimizerSettings:
    """Of AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101) and its learning rate."""

    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    schedule: str
    warmup_steps: int
    total_steps: int | None

    def factor(self, step: int, total: int) -> float:
        """Returns what the learning rate is multiplied by at a step of ``total``.

        It rises from 0 over the warm-up, and then stays at 1, or falls to 0 along a half cosine.
        """
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        return (1 + cos(pi * min(1.0, done))) / 2


def checked_optimizer(
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    schedule: str,
    warmup_steps: int,
    total_steps: int | None,
) -> OptimizerSettings:
    """Returns the settings.

    Raises:
        SettingError: If one of them is not allowed.
    """
    if not 0 < learning_rate < float("inf"):
        raise SettingError(f"learning_rate is {learning_rate}; give a number above 0.")
    if not 0 <= weight_decay < float("inf"):
        raise SettingError(f"weight_decay is {weight_decay}; give 0 or a number above.")
    if not all(0 <= beta < 1 for beta in betas):
        raise SettingError(f"betas is {betas}; give two numbers from 0 up to, but not including, 1.")
    if schedule not in SCHEDULES:
        raise SettingError(unknown("schedule", schedule, SCHEDULES))
    if warmup_steps < 0:
        raise SettingError(f"warmup_steps is {warmup_steps}; give 0 or more.")
    if total_steps is not None and total_steps < 1:
        raise SettingError(f"total_steps is {total_steps}; give at least 1, or null for the trainer's max_steps.")
    # YAML and checkpoints give lists.
    return OptimizerSettings(learning_rate, weight_decay, (betas[0], betas[1]), schedule, warmup_steps, total_steps)


def adamw(parameters: Iterable[nn.Parameter], settings: OptimizerSettings, *, max_steps: int) -> OptimizerLRScheduler:
    """Returns AdamW and its learning rate for Lightning.

    Args:
        parameters: What to train.
        settings: Of the optimizer.
        max_steps: The trainer's, the length of the cosine where the settings do not say.

    Raises:
        SettingError: If nothing says how long the cosine is.
    """
    total = max_steps if settings.total_steps is None else settings.total_steps
    if settings.schedule == "cosine" and total < 1:
        raise SettingError(
            f"the learning rate would fall to 0 over {total} steps; set the trainer's max_steps, or total_steps."
        )
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: settings.factor(step, total))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def adamw_cosine(
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    steps: int | float,
    told_by: str = "the trainer's max_steps",
) -> OptimizerLRScheduler:
    """Returns AdamW with a learning rate that falls to 0 along a half cosine of so many steps, for Lightning.

    Args:
        parameters: What to train.
        learning_rate: At the start.
        weight_decay: Of AdamW.
        steps: The length of the cosine.
        told_by: What the steps come from, for the error message.

    Raises:
        SettingError: If the number of steps is below 1 or not finite.
    """
    if not 1 <= steps < float("inf"):
        raise SettingError(f"the learning rate would fall to 0 over {steps} steps; set {told_by}, or total_steps.")
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=int(steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
