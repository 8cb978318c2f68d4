"""A snapshot: everything a measurement is a function of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import nn

from llc_lightning.components.loss import ModuleLoss, loss_fn
from llc_lightning.runtime.batches import Batch, Params, n_examples, to_device


@runtime_checkable
class HasTrivialLoss(Protocol):
    """A module that knows the loss of the trivial predictor."""

    @property
    def trivial_loss(self) -> float:
        """The mean loss of the best answer that does not look at the input."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """The weights at a step, the data to measure on, and the run's seed; nothing of it changes with the live module."""

    run: str
    """Name of the run, as in the table."""
    seed: int
    """Keys all random streams."""
    step: int
    """Optimizer updates done."""
    epoch: int
    """Number of the epoch in progress, from 0."""
    loss: ModuleLoss
    """The per-example loss; it holds the buffers."""
    params: Params
    """The parameters, tied ones once."""
    data: Batch
    """The examples, on the device of the parameters."""

    @classmethod
    def of(cls, module: nn.Module, data: Batch, *, run: str, seed: int, step: int, epoch: int) -> Snapshot:
        """Returns a snapshot of a live module; the data goes to the module's device.

        Raises:
            SettingError: If the module has no per-example loss.
            DataError: If the data is empty or its tensors disagree.
        """
        params = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        n_examples(data)
        device = next((value.device for value in params.values()), None)
        return cls(run, seed, step, epoch, loss_fn(module), params, data if device is None else to_device(data, device))

    def columns(self, **more: Any) -> dict[str, Any]:
        """Returns the columns that all of its rows share, and more."""
        return {"run": self.run, "seed": self.seed, "step": self.step, "epoch": self.epoch, **more}

    @property
    def trivial_loss(self) -> float | None:
        """The loss of the trivial predictor, where the module knows it."""
        module = self.loss.module
        return float(module.trivial_loss) if isinstance(module, HasTrivialLoss) else None
