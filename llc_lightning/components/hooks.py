"""Hook points: where a module's activations can be read and replaced, and which weights make them."""

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, runtime_checkable

from torch import nn
from torch.nn.parameter import is_lazy

from llc_lightning.components.attention import heads_of, roles
from llc_lightning.components.names import WRAPPED, Known, known_point, size_of
from llc_lightning.components.units import (
    FIRST,
    Rows,
    Units,
    is_parametrization,
    output_axis,
    own_parameters,
    units_of,
)
from llc_lightning.runtime.errors import AddressError

INPUT = ":input"
"""Behind the path of a submodule: its input is meant, not its output."""

Axes: TypeAlias = tuple[tuple[str, int], ...]
"""Parameters by name, each with one of its axes."""


@dataclass(frozen=True)
class WeightAxes:
    """Which parameter axes belong to the units of one hook point.

    Names are relative to the module that declares them; unit ``j`` owns the slice ``j`` along the axis.

    Example:
        A hidden layer ``h = relu(W_in x + b_in)`` that is read by ``W_out``, convolutional or not:

        >>> axes = WeightAxes((("W_in.weight", 0),), bias=(("W_in.bias", 0),), outgoing=(("W_out.weight", 1),))
    """

    incoming: Axes
    """What makes the activation."""
    bias: Axes = ()
    """What is added to it."""
    outgoing: Axes = ()
    """What reads it; part of a unit, but not of the layer, so that layers partition the parameters."""
    unit: str = "neuron"
    """The kind of one unit: ``neuron``, ``channel``, ``head``, ``output``, or any other of :mod:`.kinds`."""
    unit_axis: int = -1
    """Axis of the units in the activation, counted from the end: -2 for heads [..., head, feature], -3 for channels
    [..., channel, row, column]."""


@runtime_checkable
class DeclaresWeightAxes(Protocol):
    """A module that says which weights make the units of its hook points."""

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns the weight axes by the hook point's name, relative to this module."""
        ...


@dataclass(frozen=True)
class HookSite:
    """A named place in the forward pass."""

    path: str
    """Its name, from the module that was asked."""
    axes: WeightAxes | None = None
    """The weights of its units by absolute name, tied ones by their first; None where they are not known."""
    unit_axis: int = -1
    """Axis of the units in the activation, counted from the end, or :data:`~llc_lightning.components.units.FIRST`."""
    width: int | None = None
    """Number of units, None where it is not known."""
    known: Known = field(default_factory=Known)
    """What its name says."""
    group: int = 1
    """Features that make one unit, where units are groups of neighbouring ones."""
    rows: tuple[Rows, ...] = ()
    """What makes a unit, where ``axes`` do not say it; by absolute name, tied parameters by their first."""
    own: tuple[str, ...] = ()
    """The parameters that the submodule has itself, where ``axes`` do not name them all."""
    most_axes: int | None = None
    """Where nothing tells the axis of the units: axes that one example may have for it to be the last; None where the
    axis is known."""
    lazy: bool = False
    """Whether its parameters have no shape yet."""
    walked: bool = field(default=False, compare=False)
    """Whether it was found by walking a module that declares nothing."""

    @property
    def unit(self) -> str:
        """The kind of one unit of this site."""
        return self.known.unit if self.axes is None else self.axes.unit

    @property
    def weights(self) -> tuple[str, ...]:
        """The parameters that make all of its units together; nothing where they are not known."""
        made_by = () if self.axes is None else self.axes.incoming + self.axes.bias
        return self.own or tuple(parameter for parameter, _ in made_by)


def hook_sites(module: nn.Module, *, uncalled: Collection[str] = ()) -> dict[str, HookSite]:
    """Returns the hook sites of a module by path, in the order in which the module registered them.

    These are the TransformerLens ``HookPoint``s and the declared points where there are any, else every named
    submodule: a Linear or Conv (or ``Conv1D`` of the library ``transformers``) then carries the rows and the bias of
    its own weight (unit ``neuron_in`` or ``channel_in``, or a word of its own where it is no hidden layer), any other
    submodule the parameters that it has itself, so that submodules partition them. Attention modules of torch and of
    ``transformers`` add the input of their projection (``path:input``), whose units are their heads.

    Args:
        module: The module.
        uncalled: Submodules that are known not to be called: none of them gives the module's outputs.

    Raises:
        AddressError: If a module declares a hook point or a parameter that it does not have, or axes that do not fit.
    """
    paths = submodules(module, every_name=True)
    names, parts = _first_names(paths), _once(paths)
    declared = {site.path: site for site in _declared(paths, parts, names)}
    points = [path for path, part in parts.items() if path in declared or _is_hook_point(part)]
    if points or declared:
        # A module that is registered twice is walked once, but may be declared by its other name.
        points += [path for path in declared if path not in parts]
        return {path: _named_site(path, module, declared) for path in points}
    return {site.path: site for site in _undeclared(parts, names, uncalled)}


def has_hook_points(module: nn.Module) -> bool:
    """Says whether a module has hook points of TransformerLens: these are its sites then, whatever it calls."""
    return any(map(_is_hook_point, module.modules()))


def _undeclared(parts: dict[str, nn.Module], names: dict[str, str], uncalled: Collection[str]) -> Iterator[HookSite]:
    """Yields the sites of a module that declares nothing."""
    kinds = roles(parts, uncalled)
    # Units of what nothing is known about lie on the last axis, unless that may be an image's or a signal's.
    most = 1 if any(isinstance(part, nn.Conv1d | nn.ConvTranspose1d) for part in parts.values()) else 2
    for path, part in parts.items():
        if not path or is_parametrization(path):
            continue
        heads = list(_heads(path, part, names))
        yield from heads or [_plain_site(path, part, names, kinds.get(path, ""), most)]
        if heads and heads[0].path != path:
            yield _plain_site(path, part, names, kinds.get(path, ""), most)


@dataclass(frozen=True)
class LinearSite:
    """A linear map whose input or output a hook point is."""

    weight: str
    """Its weight's first name."""
    axis: int
    """The weight's axis along which the hook point's units lie."""
    is_input: bool


def linear_at(module: nn.Module, point: str) -> LinearSite | None:
    """Returns the linear map whose input or output a hook point is; None where it is none's.

    The output of a Linear, Conv or ``Conv1D`` is the point of its path, its input that of ``path:input``; in a bridge
    of TransformerLens they are ``path.hook_out`` and ``path.hook_in``.
    """
    path, is_input = point.removesuffix(INPUT), point.endswith(INPUT)
    parts = submodules(module, every_name=True)
    owner, _, hook = path.rpartition(".")
    if owner + WRAPPED in parts and hook in ("hook_in", "hook_out"):
        path, is_input = owner + WRAPPED, hook == "hook_in"
    axis = output_axis(parts[path]) if path in parts else None
    weight = _first_names(parts).get(_join(path, "weight"))
    return None if axis is None or weight is None else LinearSite(weight, 1 - axis if is_input else axis, is_input)


def submodules(module: nn.Module, *, every_name: bool = False) -> dict[str, nn.Module]:
    """Returns the module (path '') and all of its submodules by path; shared ones once, or under every name."""
    named: dict[str, nn.Module] = {}
    _walk(module, "", named)
    return named if every_name else _once(named)


def _once(named: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Returns submodules of all names by one name each."""
    first: dict[int, str] = {}
    for path, part in named.items():
        known = first.setdefault(id(part), path)
        if path.count(WRAPPED) < known.count(WRAPPED):
            first[id(part)] = path
    return {path: named[path] for path in first.values()}


def _walk(part: nn.Module, path: str, named: dict[str, nn.Module]) -> None:
    """Adds a module and its submodules, in the order and with the names of ``named_modules``, which is much slower."""
    named[path] = part
    ahead = f"{path}." if path else ""
    for name, child in part._modules.items():  # pyright: ignore[reportPrivateUsage]
        if child is not None:
            _walk(child, ahead + name, named)


def _first_names(paths: dict[str, nn.Module]) -> dict[str, str]:
    """Returns for every name of every parameter the first name of that parameter, which differs for tied ones."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(parameter), name) for name, parameter in _parameters(paths).items()}


def _parameters(paths: dict[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Returns every parameter by every of its names, in the order of ``named_parameters``, which is much slower."""
    return {
        _join(path, name): parameter
        for path, part in paths.items()
        for name, parameter in part._parameters.items()  # pyright: ignore[reportPrivateUsage]
        if parameter is not None
    }


def _declared(paths: dict[str, nn.Module], parts: dict[str, nn.Module], names: dict[str, str]) -> Iterator[HookSite]:
    parameters = _parameters(paths)
    for prefix, owner in parts.items():
        # The first is what the second asks for, and much faster.
        if not hasattr(owner, "weight_axes") or not isinstance(owner, DeclaresWeightAxes):
            continue
        for name, axes in owner.weight_axes().items():
            says, path = f"{type(owner).__name__}.weight_axes()", _join(prefix, name)
            if path not in paths:
                raise AddressError(f"{says} names {path!r}, which the module lacks; name one of its submodules.")
            if axes.unit_axis >= 0:
                raise AddressError(f"{says} gives {path!r} the unit_axis {axes.unit_axis}; count from the end: -1.")
            absolute, width = _absolute(axes, prefix, path, says, parameters, names)
            yield HookSite(path, absolute, axes.unit_axis, width)


def _absolute(
    axes: WeightAxes, prefix: str, path: str, says: str, parameters: dict[str, nn.Parameter], names: dict[str, str]
) -> tuple[WeightAxes, int]:
    """Returns the axes with absolute first names of their parameters, and the number of units."""
    widths: set[int] = set()
    groups: list[Axes] = []
    for group in (axes.incoming, axes.bias, axes.outgoing):
        groups.append(())
        for relative, axis in group:
            name = _join(prefix, relative)
            if name not in parameters:
                raise AddressError(f"{says} names {name!r}, which the module lacks; name one of its parameters.")
            shape = tuple(parameters[name].shape)
            if not -len(shape) <= axis < len(shape):
                raise AddressError(f"{says} names axis {axis} of {name!r}, which has shape {shape}; name one it has.")
            widths.add(shape[axis])
            groups[-1] += ((names[name], axis),)
    if len(widths) != 1:
        raise AddressError(
            f"{says} gives {path!r} axes of the lengths {sorted(widths)}; give at least one axis, and only axes that "
            "have one entry for each unit."
        )
    return WeightAxes(*groups, unit=axes.unit, unit_axis=axes.unit_axis), widths.pop()


def _named_site(path: str, module: nn.Module, declared: dict[str, HookSite]) -> HookSite:
    """Returns a declared point as it is declared, and any other as its name says; its size may be a sibling's."""
    known = known_point(path)
    if path in declared:
        return declared[path]
    width = size_of(known.own_size, module, path) or size_of(known.size, module, path)
    if width is None:
        beside = path.rpartition(".")[0]
        units = (site for site in declared.values() if site.unit == known.unit and known_point(site.path).output)
        width = next((site.width for site in units if site.path.rpartition(".")[0] == beside), None)
    if not known.grouped:
        return HookSite(path, None, known.unit_axis, width, known, most_axes=None if known.located else 2)
    d_head = size_of("d_head", module, path)
    if width is None or d_head is None:
        return HookSite(path, most_axes=2)
    return HookSite(path, None, known.unit_axis, width, known, d_head)


def _heads(path: str, part: nn.Module, names: dict[str, str]) -> Iterator[HookSite]:
    found = heads_of(part)
    if found is not None:
        where = _join(path, found.module) + (INPUT if found.at_input else "")
        rows = tuple(replace(one, parameter=names[_join(path, one.parameter)]) for one in found.rows)
        own = () if found.at_input else tuple(names[_join(path, name)] for name in own_parameters(part))
        yield HookSite(
            where, None, -1, found.number, Known("head", whole="attention"), found.size, rows, own, walked=True
        )


def _plain_site(path: str, part: nn.Module, names: dict[str, str], role: str, most: int) -> HookSite:
    if any(map(is_lazy, part.parameters(recurse=False))):
        return HookSite(path, lazy=True, most_axes=most, walked=True)
    own, units = [names[_join(path, name)] for name in own_parameters(part)], units_of(part)
    axes = _axes(path, part, names, units, role) if len(units.rows) == len(own) else None
    if axes is not None:
        return HookSite(path, axes, axes.unit_axis, units.width, walked=True)
    axis, unlocated = -1 if units.axis is None else units.axis, most if units.axis is None else None
    rows = tuple(replace(one, parameter=names[_join(path, one.parameter)]) for one in units.rows)
    known = Known(role or units.unit)
    return HookSite(path, None, axis, units.width, known, rows=rows, own=tuple(own), most_axes=unlocated, walked=True)


def _axes(path: str, part: nn.Module, names: dict[str, str], units: Units, role: str) -> WeightAxes | None:
    """Returns the weight and bias of a linear map as what makes its units; None for what is none, or computes them."""
    axis, weight = output_axis(part), names.get(_join(path, "weight"))
    if axis is None or weight is None or units.axis in (None, FIRST):
        return None
    bias = names.get(_join(path, "bias"))
    biases = () if bias is None else ((bias, 0),)
    return WeightAxes(((weight, axis),), biases, unit=role or units.unit, unit_axis=units.axis or -1)


def _is_hook_point(part: nn.Module) -> bool:
    # A HookPoint can only exist where its module was imported; importing it here would cost seconds.
    transformer_lens = sys.modules.get("transformer_lens.hook_points")
    return transformer_lens is not None and isinstance(part, transformer_lens.HookPoint)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name
