"""A component's weights: what an ablation of weights may look at and gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.components.hooks import hook_sites, submodules
from llc_lightning.runtime.batches import Params


@dataclass(frozen=True)
class Weight:
    """A component's entries of one parameter."""

    slice: WeightSlice
    """Which they are."""
    parameter: Float[Tensor, "..."]
    """All of it."""
    values: Float[Tensor, "..."]
    """The entries: the parameter with the slice's axis cut down to them."""
    form: tuple[int, int, int] | None
    """The form [matrix, row, column] as which they multiply something; None for biases and other vectors."""

    @property
    def rank(self) -> int:
        """The most that the rank of its matrices can be; 0 where it has none."""
        return 0 if self.form is None else min(self.form[1:])

    def write(self, into: Float[Tensor, "..."], values: Float[Tensor, "..."]) -> None:
        """Writes values for the entries into the parameter."""
        if self.slice.index is None:
            into.copy_(values)
        else:
            into.index_copy_(self.slice.axis, torch.tensor(self.slice.index, device=into.device), values)


class WeightReader:
    """Reads the weights of a module's components.

    A weight of more than two axes is the kernel of a convolution, ``[output, everything else]``, or stacks matrices
    along its first axes, as ``W_Q [head, d_model, d_head]`` does. Biases are what hook points declare as such, what is
    called ``bias`` or ``b_...``, and what has a single axis, as scales of a norm have.

    Args:
        module: The module.
        params: Its parameters; those left out are the module's.
    """

    def __init__(self, module: nn.Module, params: Params) -> None:
        self._params = {name: parameter.detach() for name, parameter in module.named_parameters()} | params
        axes = [site.axes for site in hook_sites(module).values() if site.axes is not None]
        self._vectors = {name for declared in axes for name, _ in declared.bias}
        paths = submodules(module, every_name=True).items()
        self._kernels = {f"{path}.weight".removeprefix(".") for path, part in paths if isinstance(part, _ConvNd)}

    def weights(self, component: Component) -> list[Weight]:
        """Returns a component's weights, each parameter's entries along one axis together.

        Rows and columns of one parameter, as two neighbouring neurons have, cross: what is written last holds there.
        """
        whole = {one.parameter for one in component.weights if one.index is None}
        entries: dict[tuple[str, int], set[int]] = {}
        for one in component.weights:
            key = (one.parameter, 0 if one.parameter in whole else one.axis)
            entries.setdefault(key, set()).update(one.index or ())
        return [
            self._weight(WeightSlice(name, axis, None if name in whole else tuple(sorted(index))))
            for (name, axis), index in entries.items()
        ]

    def _weight(self, some: WeightSlice) -> Weight:
        values = parameter = self._params[some.parameter]
        if some.index is not None:
            values = parameter.index_select(some.axis, torch.tensor(some.index, device=parameter.device))
        return Weight(some, parameter, values, self._form(some.parameter, values.shape))

    def _form(self, name: str, shape: Sequence[int]) -> tuple[int, int, int] | None:
        own = name.rpartition(".")[2]
        if len(shape) < 2 or name in self._vectors or own == "bias" or own.startswith("b_"):
            return None
        if name in self._kernels:
            return 1, shape[0], prod(shape[1:])
        return prod(shape[:-2]), shape[-2], shape[-1]
