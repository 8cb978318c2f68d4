"""An activation with a few units replaced, kept as the difference that this makes for as long as maps are linear."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils._pytree import tree_map


@dataclass(frozen=True)
class Few:
    """A replacement of a few units of an activation: ``h <- where(where & is one of the units, value, h)``."""

    axis: int
    """Of the units, counted from the end."""
    units: Int[Tensor, "k"]
    where: Bool[Tensor, "..."]
    """Broadcasts against the activation with the axis of the units cut down to 1."""
    value: Float[Tensor, "..."]
    """The activation's shape, or one that broadcasts to it, with the axis of the units cut down to these."""

    def written(self, h: Tensor) -> Tensor:
        """Returns the activation with the replacement; entries outside keep their bits, also where they are NaN.

        It is contiguous, as what a module computes mostly is: modules take views of it.
        """
        after = (1,) * (-1 - self.axis)
        every = torch.arange(h.shape[self.axis], device=h.device)
        is_unit = every == self.units[:, None]
        if len(self.units) == 1:
            return torch.where(self.where & is_unit[0].view(-1, *after), self.value, h).contiguous()
        # Which of the few values each unit takes; any one for those that keep theirs.
        which = is_unit.to(torch.uint8).argmax(0).view(-1, *after)
        shape = (*self.value.shape[: self.axis], h.shape[self.axis], *h.shape[h.ndim + self.axis + 1 :])
        taken = torch.take_along_dim(self.value, which.expand(shape), dim=self.axis)
        return torch.where(self.where & is_unit.any(0).view(-1, *after), taken, h).contiguous()

    def difference(self, h: Tensor) -> Tensor:
        """Returns what the replacement adds to these units, with their axis last."""
        own = h.index_select(self.axis, self.units) if h.ndim == -self.axis else _select(h, self.axis, self.units)
        return torch.where(self.where, self.value - own, 0)


class Delta(Tensor):
    """The activation ``h`` with a few units replaced, which a linear map takes as ``W h + W[:, units] difference``.

    ``W h`` is the same for all ablations and computed once, so that one ablation costs its own columns of W alone
    (a rank-one update for a neuron). At the first use that is not a linear map it becomes the replaced activation, for
    good: views of it share its memory, and what is written to it stays.
    """

    base: Tensor
    few: Few | None
    """None where ``base`` is the replaced activation."""

    @staticmethod
    def of(h: Tensor, few: Few) -> Tensor:
        """Returns the replaced activation, in this form where it is precise enough: not in half precision."""
        if h.dtype not in (torch.float32, torch.float64):
            return few.written(h)
        # A tensor without numbers of its own: the tensor h may be another subclass, such as those that trace.
        make: Any = Tensor._make_wrapper_subclass  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
        made: Delta = make(Delta, h.shape, dtype=h.dtype, device=h.device)
        made.base, made.few = h, few
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Applies a linear map to the difference alone, and anything else to the replaced activation."""
        with torch._C.DisableTorchFunctionSubclass():  # pyright: ignore[reportPrivateUsage]
            rule, h = _RULES.get(func), args[0] if args else None
            if rule and not kwargs and isinstance(h, Delta) and h.few and not any(map(_is_delta, args[1:])):
                result = rule(h, h.few, *args[1:])
                if result is not None:
                    return result
            if func in _FORM and isinstance(h, Delta):
                return func(h.base, *args[1:], **(kwargs or {}))
            return func(*tree_map(_whole, args), **tree_map(_whole, dict(kwargs or {})))

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Applies what comes past ``__torch_function__`` to the replaced activation."""
        return func(*tree_map(_whole, args), **tree_map(_whole, dict(kwargs or {})))

    def whole(self) -> Tensor:
        """Returns the replaced activation, which this is from now on."""
        if self.few is not None:
            self.base, self.few = self.few.written(self.base), None
        return self.base


def _is_delta(value: object) -> bool:
    return isinstance(value, Delta)


def _whole(value: Any) -> Any:
    return value.whole() if isinstance(value, Delta) else value


def _select(h: Tensor, axis: int, units: Tensor) -> Tensor:
    return h.movedim(axis, 0)[units].movedim(0, axis)


def _linear(h: Delta, few: Few, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    if few.axis != -1 or weight.ndim != 2:
        return None
    return _added(F.linear(h.base, weight, bias), h.base, few, weight.T)


def _matmul(h: Delta, few: Few, weight: Tensor) -> Tensor | None:
    if few.axis != -1 or weight.ndim != 2:
        return None
    return _added(h.base @ weight, h.base, few, weight)


def _added(mapped: Tensor, h: Tensor, few: Few, rows: Float[Tensor, "unit output"]) -> Tensor:
    difference, own = few.difference(h), rows[few.units]
    if len(few.units) == 1:
        return torch.addcmul(mapped, difference, own[0])
    return mapped + difference @ own


def _flatten(h: Delta, few: Few, start_dim: int = 0, end_dim: int = -1) -> Tensor | None:
    """Merges the axis of the units with the features behind it: a unit becomes its features, side by side."""
    ndim = h.base.ndim
    if few.axis != -2 or (start_dim % ndim, end_dim % ndim) != (ndim - 2, ndim - 1):
        return None
    features = h.base.shape[-1]
    units = (few.units[:, None] * features + torch.arange(features, device=h.base.device)).flatten()
    where = few.where.flatten(-2) if few.where.ndim > 1 else few.where
    return Delta.of(h.base.flatten(-2), Few(-1, units, where, few.value.flatten(-2)))


def _reshape(h: Delta, few: Few, *shape: Any) -> Tensor | None:
    given = tuple(cast("Sequence[Any]", shape[0])) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    ahead, width = tuple(h.base.shape[:-2]), h.base.shape[-2:].numel()
    if few.axis != -2 or given not in ((*ahead, width), (*ahead, -1)):
        return None
    return _flatten(h, few, -2, -1)


def _dropout(h: Delta, few: Few, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
    return None if training else h


_RULES: dict[Any, Callable[..., Tensor | None]] = {
    F.linear: _linear,
    F.dropout: _dropout,
    torch.matmul: _matmul,
    Tensor.matmul: _matmul,
    Tensor.__matmul__: _matmul,
    torch.flatten: _flatten,
    Tensor.flatten: _flatten,
    torch.reshape: _reshape,
    Tensor.reshape: _reshape,
    Tensor.view: _reshape,
}
_FORM = {
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.__len__, Tensor.is_floating_point),
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "layout", "is_cuda")),
}
"""What an activation and its replacement have in common."""
