"""The types that rooms exchange."""

from typing import Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float
from torch import Tensor

Params: TypeAlias = dict[str, Tensor]
"""Tensors by name, as ``named_parameters()`` spells the names."""

Batch: TypeAlias = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""Examples: tensors that share their leading axis, the example axis."""


@runtime_checkable
class LossFn(Protocol):
    """The loss of a network as a pure function of its weights and a batch of examples."""

    def __call__(self, params: Params, batch: Batch, /) -> Float[Tensor, "example"]:
        """Returns the loss of each example, differentiable in ``params``.

        Args:
            params: The weights to evaluate at, by name.
            batch: The examples.
        """
        ...
