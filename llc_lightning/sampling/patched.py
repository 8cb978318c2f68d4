"""Linear layers of which a chain moves one unit: the frozen rest is computed once, unstacked.

Stacking a full copy of a weight per chain, to move one row of it, makes gradients for everything that is frozen. Here
the product with the frozen weight is shared by all lanes, and only the moved row or column is multiplied per lane: a
row replaces one output, a column adds ``x[j] (v - W[:, j])``. An output of which one unit is replaced stays so through
elementwise functions, and a linear layer that reads it adds what that unit changes to the frozen layer's product. All
of it is exact. Any other use of a moved parameter or of such an output sees the full tensor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from llc_lightning.runtime.batches import Params
from llc_lightning.sampling.slices import SliceForm

_METADATA = {getattr(torch.Tensor, name).__get__ for name in ("dtype", "shape", "device", "ndim")}
"""Reading these of a moved parameter needs no full copy of it."""
_ELEMENTWISE = {
    getattr(home, name)
    for home in (torch, torch.Tensor, F)
    for name in ("relu", "gelu", "silu", "tanh", "sigmoid", "leaky_relu", "softplus", "elu", "mish", "square", "abs")
    if hasattr(home, name)
}
"""Functions of one tensor that take every number by itself."""


@dataclass(frozen=True)
class _Replaced:
    """An activation of which one unit, in the last axis, is a lane's own: ``whole`` is ``frozen`` with ``moved`` there.

    A traced graph leaves out ``whole`` where nothing reads it.
    """

    whole: Tensor
    frozen: Tensor
    moved: Tensor
    unit: Tensor


class PatchedParameters(TorchFunctionMode):
    """Lets a forward pass that is given the frozen parameters compute with the moved values of one lane.

    ``one_unit`` says that wherever a row and a bias are moved, they are those of the same unit.
    """

    def __init__(
        self, frozen: Params, forms: Sequence[SliceForm], index: Params, values: Params, *, one_unit: bool
    ) -> None:
        super().__init__()
        self._forms = {id(frozen[form.parameter]): form for form in forms}
        self._frozen = frozen
        self._index = index
        self._values = values
        self._one_unit = one_unit
        self._full: dict[str, Tensor] = {}
        self._replaced: dict[int, _Replaced] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Computes a linear layer beside its frozen product; gives every other function the full tensors."""
        if func is F.linear and not kwargs:
            inputs, weight, bias = self._materialised(args[0]), args[1], args[2] if len(args) > 2 else None
            frozen_bias = bias is None or not self._is_moved(bias)
            same_unit = self._one_unit and self._is_unit(bias, axis=0)
            if inputs.ndim > 1 and self._is_unit(weight, axis=0) and (frozen_bias or same_unit):
                return self._row(inputs, weight, bias)
            changed = self._replaced.get(id(inputs))
            column = self._is_unit(weight, axis=1)
            if changed and frozen_bias and (not self._is_moved(weight) or (column and self._one_unit)):
                return self._changed(changed, weight, bias)
            if column and frozen_bias:
                return self._column(inputs, weight, bias)
        elif func in _ELEMENTWISE and id(args[0]) in self._replaced and not (kwargs or {}).get("inplace"):
            return self._elementwise(func, self._replaced[id(args[0])], args[1:], kwargs or {})
        if func in _METADATA:
            return func(*args, **(kwargs or {}))
        full = [self._materialised(argument) for argument in args]
        return func(*full, **{name: self._materialised(value) for name, value in (kwargs or {}).items()})

    def _row(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One output unit is moved: its pre-activation replaces the frozen one."""
        form = self._forms[id(weight)]
        unit = self._index[form.parameter]
        # In this order the result comes out contiguous over lanes, and so does everything computed from it.
        moved = (self._values[form.parameter] @ inputs.mT).squeeze(-2)
        if bias is not None:
            moved = moved + (
                self._values[self._forms[id(bias)].parameter][0] if self._is_moved(bias) else bias[unit][0]
            )
        return self._noted(F.linear(inputs, weight, bias), moved.unsqueeze(-1), unit)

    def _noted(self, frozen: Tensor, moved: Tensor, unit: Tensor, whole: Tensor | None = None) -> Tensor:
        if whole is None:
            whole = frozen.scatter(-1, unit.expand(*frozen.shape[:-1], 1), moved)
        self._replaced[id(whole)] = _Replaced(whole, frozen, moved, unit)
        return whole

    def _elementwise(
        self, func: Callable[..., Tensor], of: _Replaced, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Tensor:
        """One unit of the input is replaced, hence one of the output."""
        whole, frozen, moved = (func(value, *args, **kwargs) for value in (of.whole, of.frozen, of.moved))
        return self._noted(frozen, moved, of.unit, whole)

    def _changed(self, inputs: _Replaced, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One input unit is replaced, and perhaps its outgoing weights are moved: what that changes is added."""
        before = weight.gather(1, inputs.unit.expand(weight.shape[0], 1))
        form = self._forms.get(id(weight))
        after = before if form is None else self._values[form.parameter]
        activation = inputs.frozen.gather(-1, inputs.unit.expand(*inputs.frozen.shape[:-1], 1))
        lost = torch.addcmul(F.linear(inputs.frozen, weight, bias), activation, before[:, 0], value=-1)
        return lost + inputs.moved @ after.mT

    def _column(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One input unit's outgoing weights are moved: their change is added to the frozen output."""
        form = self._forms[id(weight)]
        unit = self._index[form.parameter]
        activation = inputs.gather(-1, unit.expand(*inputs.shape[:-1], 1))
        change = self._values[form.parameter][:, 0] - weight.gather(1, unit.expand(weight.shape[0], 1))[:, 0]
        return F.linear(inputs, weight, bias) + activation * change

    def _is_moved(self, tensor: Any) -> bool:
        return id(tensor) in self._forms

    def _is_unit(self, tensor: Any, *, axis: int) -> bool:
        form = self._forms.get(id(tensor))
        return form is not None and form.form == "along" and form.axis == axis and form.shape[axis] == 1

    def _materialised(self, argument: Any) -> Any:
        if type(argument) in (list, tuple):
            return type(argument)(self._materialised(item) for item in argument)
        form = self._forms.get(id(argument))
        if form is None:
            return argument
        name = form.parameter
        if name not in self._full:
            self._full[name] = form.write(self._frozen[name], self._index[name], self._values[name])
        return self._full[name]
