"""A snapshot: everything a measurement is a function of; and giving a module the weights of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from llc_lightning.components.loss import ModuleLoss, loss_fn, named_tensors
from llc_lightning.components.still import stand_at
from llc_lightning.results.schema import RAW, Weights
from llc_lightning.runtime.batches import Batch, Params, for_params, n_examples, n_weights
from llc_lightning.runtime.errors import SnapshotError
from llc_lightning.sampling.centre import Centres


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
    weights: Weights = RAW
    """Which weights of the step they are."""
    centres: Centres = field(init=False, default_factory=Centres, compare=False, repr=False)
    """What has been found out about losses at the weights; a copy with others knows nothing."""

    @classmethod
    def of(
        cls, module: nn.Module, data: Batch, *, run: str, seed: int, step: int, epoch: int, weights: Weights = RAW
    ) -> Snapshot:
        """Returns a snapshot of a live module; the data goes to the module's device and precision.

        Raises:
            SettingError: If the module has no per-example loss.
            DataError: If the data is empty or its tensors disagree.
        """
        params = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        n_examples(data)
        loss = loss_fn(module)
        stand_at(loss.module, epoch=epoch, step=step)
        return cls(run, seed, step, epoch, loss, params, for_params(data, params), weights)

    def columns(self, **more: Any) -> dict[str, Any]:
        """Returns the columns that all of its rows share, and more."""
        place = {"run": self.run, "seed": self.seed, "step": self.step, "epoch": self.epoch}
        return {**place, "weights": self.weights, **more}

    @property
    def size(self) -> int:
        """The number of weights."""
        return n_weights(self.params)

    @property
    def trivial_loss(self) -> float | None:
        """The loss of the trivial predictor, where the module knows it."""
        module = self.loss.module
        return float(module.trivial_loss) if isinstance(module, HasTrivialLoss) else None


_SHOWN = 3


def restore(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str = "the snapshot") -> None:
    """Gives every parameter and buffer of a module its value, and its type, from a snapshot.

    Args:
        module: The module; it is changed in place, on the devices where it is.
        tensors: Parameters and buffers by name, tied ones once, as ``snapshot_params`` returns them.
        source: What the tensors are called in an error, such as a path.

    Raises:
        SnapshotError: If a name is missing or too many, or a shape differs; the module is then unchanged.
    """
    own = named_tensors(module)
    lacks, has = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    differ = [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    wrong = [
        *([f"it lacks {_some(lacks)}"] if lacks else []),
        *([f"it has {_some(has)} too many"] if has else []),
        *differ,
    ]
    if wrong:
        kind = type(module).__name__
        raise SnapshotError(
            f"{source} is not of this {kind}: {_some(wrong, '; ')}; give the model that it was taken of."
        )
    for name, tensor in own.items():
        tensor.data = tensors[name].to(tensor.device, copy=True)


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return between.join(names[:_SHOWN]) + more
