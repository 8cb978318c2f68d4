"""Jobs: every value that a plan asks for, with the columns that its row will have."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from llc_lightning.components.component import Component
from llc_lightning.llc.settings import Resolution
from llc_lightning.results.schema import KEY
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.digest import tensor_digest
from llc_lightning.runtime.kinds import level_of


@dataclass(frozen=True)
class Job:
    """The LLC of a component at a resolution, or the effect of ablating it by a method."""

    quantity: str
    """``llc`` or ``ablation_effect``."""
    component: Component
    settings: str
    """Names how it is measured and on which examples: the ``settings`` of its row."""
    method: str = ""
    """How it is ablated."""
    resolution: Resolution | None = None
    """Where its LLC is meant."""
    loss: str = "train"
    """The loss whose LLC or effect it is."""
    revision: int = 1
    """Of what measures it."""

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of its row that are known before it is measured; they make the row unique within a step."""
        address = self.component.address
        named: dict[str, Any] = {
            "quantity": self.quantity,
            "component": "" if level_of(self.component.kind) == "model" else address,
            "kind": self.component.kind,
            "method": self.method,
            "loss": self.loss,
            "settings": self.settings,
            "revision": self.revision,
        }
        if self.resolution is None:
            return named
        return named | {"params_moved": address, "n_beta": self.resolution.n_beta, "gamma": self.resolution.gamma}

    def key(self, *, run: str, step: int) -> tuple[str | int, ...]:
        """Returns the key that its row has in the table of a run."""
        place = {"run": run, "step": step, "params_moved": "", **self.columns}
        return tuple(place[name] for name in KEY)


def data_digest(data: Batch, n: int | None = None) -> str:
    """Returns 16 hexadecimal digits that name examples: the BLAKE2b digest of their names, types, shapes and bytes.

    Args:
        data: The examples.
        n: How many of them count, from the first on; None for all.

    Example:
        >>> import torch
        >>> data_digest(torch.arange(3)) == data_digest(torch.arange(3)) != data_digest(torch.arange(3.0))
        True
    """
    if isinstance(data, Tensor):
        named = {"": data}
    elif isinstance(data, dict):
        named = dict(sorted(data.items()))
    else:
        named = {str(i): tensor for i, tensor in enumerate(data)}
    return tensor_digest({name: tensor[:n] for name, tensor in named.items()})
