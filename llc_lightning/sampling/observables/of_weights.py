"""Any function of all weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.observables.base import Look, Stateless
from llc_lightning.sampling.stacked import Stack

_REFUSED = (RuntimeError, ValueError, TypeError)
"""What vmap raises on a function that branches on numbers."""


@dataclass(frozen=True, eq=False)
class OfWeights(Stateless):
    """A function of all weights along chains that move whole tensors, [chain, lane, ...].

    Raises:
        SettingError: At the first look, where chains move parts of tensors: there are no whole weights to look at.
    """

    every: int
    function: Callable[[Params], Tensor]
    """Of the weights by name; its result has one shape."""
    params: Params
    """The weights of the centre, for those that are not moved."""
    name: str = "of_weights"

    def look(self, look: Look) -> Float[Tensor, "chain lane ..."]:
        """Returns what the function gives for every chain."""
        position = look.position
        if any(value.shape[2:] != self.params[name].shape for name, value in position.items()):
            raise SettingError(
                f"the observable {self.name!r} is a function of all weights, and these chains move parts of tensors; "
                "run chains of the whole model, or of whole layers."
            )
        lanes = next(iter(position.values())).shape[1]
        with torch.no_grad():
            each = [
                self._of_chains({name: value[:, lane] for name, value in position.items()}) for lane in range(lanes)
            ]
        return torch.stack(each, 1)

    def _of_chains(self, moved: Stack) -> Float[Tensor, "chain ..."]:
        def at(own: Params) -> Tensor:
            return self.function({**self.params, **own})

        try:
            return torch.vmap(at)(moved)
        except _REFUSED:
            chains = next(iter(moved.values())).shape[0]
            return torch.stack([at({name: value[chain] for name, value in moved.items()}) for chain in range(chains)])
