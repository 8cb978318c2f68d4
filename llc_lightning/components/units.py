"""Which units the modules of torch have, and which entries of their own parameters make one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import (
    _ConvNd,  # pyright: ignore[reportPrivateUsage]
    _ConvTransposeNd,  # pyright: ignore[reportPrivateUsage]
)
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]

FIRST = 0
"""A unit axis: the first behind that of the examples, however many follow."""

_PARAMETRIZATIONS = "parametrizations"


@dataclass(frozen=True)
class Rows:
    """The entries of a parameter along an axis that are a unit's."""

    parameter: str
    axis: int
    blocks: int = 1
    """Equal blocks along the axis, in each of which the unit has entries: gates, or queries, keys and values."""
    group: int = 1
    """Neighbouring entries that are one unit's, as a head's are."""
    shared: int = 1
    """Units that have the same entries: heads of queries to one of keys."""
    reads: bool = False
    """Whether the entries read the unit, and do not make it."""

    def of(self, units: Sequence[int], width: int) -> tuple[int, ...]:
        """Returns the entries of some of ``width`` units.

        Example:
            >>> Rows("in_proj_weight", 0, blocks=3, group=2).of([1], 4)
            (2, 3, 10, 11, 18, 19)
        """
        size = width // self.shared * self.group
        places = dict.fromkeys(unit // self.shared * self.group for unit in units)
        return tuple(b * size + p + f for b in range(self.blocks) for p in places for f in range(self.group))


@dataclass(frozen=True)
class Units:
    """What the class of a module says of the units of its output."""

    unit: str = "unit"
    """The kind of one."""
    axis: int | None = None
    """Where they lie in the output, counted from the end, or :data:`FIRST`; None where nothing tells."""
    width: int | None = None
    """Their number, where it is known."""
    rows: tuple[Rows, ...] = ()
    """What makes one; nothing where no entries do."""


def own_parameters(part: nn.Module) -> list[str]:
    """Returns the names of the parameters that a module has itself, and not by a submodule; parametrised ones too."""
    names = (name for name, _ in part.named_parameters(remove_duplicate=False))
    return [name for name in names if "." not in name or name.startswith(f"{_PARAMETRIZATIONS}.")]


def is_parametrization(path: str) -> bool:
    """Says whether a submodule only computes a parameter of another one."""
    return _PARAMETRIZATIONS in path.split(".")


def stored(part: nn.Module, name: str, axis: int) -> tuple[str, ...] | None:
    """Returns the parameters whose entries along an axis make those of a weight one by one; None where none do.

    These are the weight itself, both parts of a normalised weight, and what pruning leaves; a spectral norm depends on
    all entries together.
    """
    own = dict(part.named_parameters(recurse=False))
    if name in own:
        return (name,)
    if f"{name}_orig" in own:
        return (f"{name}_orig",) if hasattr(part, f"{name}_mask") else None
    if f"{name}_g" in own:
        hooks: Iterable[Any] = vars(part)["_forward_pre_hooks"].values()
        dims = [getattr(hook, "dim", None) for hook in hooks if getattr(hook, "name", "") == name]
        return (f"{name}_g", f"{name}_v") if dims == [axis] else None
    made: Any = getattr(part, _PARAMETRIZATIONS, {})
    if name in made:  # to read the weight itself would step a spectral norm of the live module
        normal = len(made[name]) == 1 and type(made[name][0]).__name__ == "_WeightNorm" and made[name][0].dim == axis
        return tuple(f"{_PARAMETRIZATIONS}.{name}.original{i}" for i in (0, 1)) if normal else None
    return None if name in vars(part) else ()


def rows_of(part: nn.Module, *axes: tuple[str, int], blocks: int = 1, group: int = 1) -> tuple[Rows, ...]:
    """Returns a unit's entries of some parameters; none where one of them is computed of all entries together."""
    found = [(stored(part, name, axis), axis) for name, axis in axes]
    if any(names is None for names, _ in found):
        return ()
    return tuple(Rows(name, axis, blocks, group) for names, axis in found for name in names or ())


def output_axis(part: nn.Module) -> int | None:
    """Returns the axis of a linear map's weight along which its outputs lie; None for any other module.

    A ``Conv1D`` of the library ``transformers`` is a Linear whose weight is [input, output].
    """
    if isinstance(part, _ConvTransposeNd):
        return 1 if part.groups == 1 else None
    if isinstance(part, nn.Linear | _ConvNd):
        return 0
    kind = type(part)
    return 1 if (kind.__module__, kind.__name__) == ("transformers.pytorch_utils", "Conv1D") else None


@singledispatch
def units_of(part: nn.Module) -> Units:
    """Returns the units of a module's output: nothing is known of a class that is not here."""
    axis = output_axis(part)
    if axis is None:
        return Units()
    return Units(
        "neuron_in", -1, part.get_parameter("weight").shape[axis], rows_of(part, ("weight", axis), ("bias", 0))
    )


@units_of.register(nn.Linear)
def _(part: nn.Linear) -> Units:
    return Units("neuron_in", -1, part.out_features, rows_of(part, ("weight", 0), ("bias", 0)))


@units_of.register(nn.Bilinear)
def _(part: nn.Bilinear) -> Units:
    return Units("neuron_in", -1, part.out_features, rows_of(part, ("weight", 0), ("bias", 0)))


@units_of.register(_ConvNd)
def _(part: _ConvNd) -> Units:
    axis = output_axis(part)
    rows = () if axis is None else rows_of(part, ("weight", axis), ("bias", 0))
    # An activation is [..., channel, *space]; counted from the end, an axis of lanes in front is harmless.
    return Units("channel_in", -1 - len(part.kernel_size), part.out_channels, rows)


@units_of.register(_BatchNorm)
@units_of.register(_InstanceNorm)
def _(part: _BatchNorm | _InstanceNorm) -> Units:
    space = next((number for number, classes in _OF_SPACE.items() if isinstance(part, classes)), None)
    axis = FIRST if space is None else -1 - space
    return Units(axis=axis, width=part.num_features, rows=rows_of(part, ("weight", 0), ("bias", 0)))


_OF_SPACE = {
    1: (nn.InstanceNorm1d,),  # a batch norm of one axis takes [example, channel] as well
    2: (nn.BatchNorm2d, nn.InstanceNorm2d),
    3: (nn.BatchNorm3d, nn.InstanceNorm3d),
}


@units_of.register(nn.GroupNorm)
def _(part: nn.GroupNorm) -> Units:
    return Units(axis=FIRST, width=part.num_channels, rows=rows_of(part, ("weight", 0), ("bias", 0)))


@units_of.register(nn.LayerNorm)
@units_of.register(nn.RMSNorm)
def _(part: nn.LayerNorm | nn.RMSNorm) -> Units:
    shape = tuple(part.normalized_shape)
    return Units(axis=-1, width=shape[-1], rows=rows_of(part, ("weight", 0), ("bias", 0)) if len(shape) == 1 else ())


@units_of.register(nn.Embedding)
@units_of.register(nn.EmbeddingBag)
def _(part: nn.Embedding | nn.EmbeddingBag) -> Units:
    return Units(axis=-1, width=part.embedding_dim, rows=rows_of(part, ("weight", 1)))


@units_of.register(nn.RNNBase)
def _(part: nn.RNNBase) -> Units:
    """Returns the units of the last layer: each has a row in every gate."""
    size, last = part.proj_size or part.hidden_size, f"l{part.num_layers - 1}"
    if part.bidirectional:
        return Units(axis=-1, width=2 * size)
    if part.proj_size:
        return Units(axis=-1, width=size, rows=rows_of(part, (f"weight_hr_{last}", 0)))
    names = [f"{kind}_{last}" for kind in ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if part.bias else ()))]
    gates = part.get_parameter(names[0]).shape[0] // size
    return Units(axis=-1, width=size, rows=rows_of(part, *((name, 0) for name in names), blocks=gates))


@units_of.register(nn.RNNCellBase)
def _(part: nn.RNNCellBase) -> Units:
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if part.bias else ()))
    gates = part.weight_ih.shape[0] // part.hidden_size
    return Units(axis=-1, width=part.hidden_size, rows=rows_of(part, *((name, 0) for name in names), blocks=gates))


@units_of.register(nn.MultiheadAttention)
def _(part: nn.MultiheadAttention) -> Units:
    return Units(axis=-1, width=part.out_proj.out_features)
