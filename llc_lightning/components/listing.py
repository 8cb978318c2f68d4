"""From what a user writes (addresses, globs, words) to the components of a module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from torch import nn

from llc_lightning.components.address import UNITS, Address
from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.components.hooks import HookSite, hook_sites, submodules
from llc_lightning.runtime.errors import AddressError, nearest, unknown

WORDS = ("all", "layers", "neurons", "channels", "heads", "parameters")
_UNITS_OF_WORD = {"neurons": ("neuron", "neuron_in"), "channels": ("channel",), "heads": ("head",)}
_GLOB = re.compile(rf"(?P<points>[^\[\]]+)(?:\[(?P<units>\*|{UNITS})\])?")


def find_components(module: nn.Module, spec: str | Sequence[str]) -> list[Component]:
    """Returns the components that ``spec`` names, each once, in the order given and then in the module's own order.

    Args:
        module: Any module; its paths start at the module itself.
        spec: One or several of: an address (``net.hook_hidden[7]``, or ``net.hook_hidden[3,5]`` for a set of units), a
            parameter's name, a glob over hook points (``net.*``, and ``net.*[*]`` for each of their units), or one of
            the words ``all`` (the whole model), ``layers`` (all units of one hook point, with the weights and bias
            that make them), ``neurons``, ``channels``, ``heads``, ``parameters``. A word wins over a submodule of the
            same name.

    Raises:
        AddressError: If an entry names nothing; the message names the nearest addresses.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> [component.address for component in find_components(net, ["layers", "0[1]", "2.bias"])]
        ['0', '2', '0[1]', '2.bias']
    """
    listing = _Listing(module)
    found: dict[str, Component] = {}
    for text in [spec] if isinstance(spec, str) else spec:
        for component in listing.named(text):
            found.setdefault(component.address, component)
    return list(found.values())


class _Listing:
    """What there is to name in a module."""

    def __init__(self, module: nn.Module) -> None:
        self.sites = hook_sites(module)
        self.parameters = dict(module.named_parameters())
        first = {id(part): path for path, part in submodules(module).items()}
        self._first = {path: first[id(part)] for path, part in submodules(module, every_name=True).items()}

    def named(self, text: str) -> list[Component]:
        """Returns what one entry of a spec names."""
        if text == "all":
            trainable = [name for name, parameter in self.parameters.items() if parameter.requires_grad]
            return [Component("all", "all", weights=tuple(WeightSlice(name) for name in trainable))]
        if text == "parameters":
            return [_parameter(name) for name in self.parameters]
        if text == "layers":
            return self._some(text, [_layer(site) for site in self.sites.values() if site.axes is not None])
        if text in _UNITS_OF_WORD:
            sites = [site for site in self.sites.values() if site.unit in _UNITS_OF_WORD[text]]
            return self._some(text, [unit for site in sites for unit in self._each_unit(site)])
        if "*" in text or "?" in text:
            return self._some(text, self._matching(text))
        if text in self.parameters:
            return [_parameter(text)]
        return [self._addressed(text)]

    def _matching(self, text: str) -> list[Component]:
        glob = _GLOB.fullmatch(text)
        if glob is None:
            raise AddressError(
                f"cannot read the glob {text!r}; write one over hook points such as 'net.*', over their units such as "
                "'net.*[*]', or over some of them such as 'net.*[3,5]'."
            )
        points, units = glob["points"], glob["units"]
        sites = [site for site in self.sites.values() if fnmatchcase(site.path, points)]
        if units is None:
            return [_layer(site) for site in sites]
        if units == "*":
            return [unit for site in sites for unit in self._each_unit(site)]
        return [self._addressed(f"{site.path}[{units}]") for site in sites]

    def _addressed(self, text: str) -> Component:
        try:
            address = Address.parse(text)
        except AddressError as error:
            close = nearest(text, self._names)
            raise AddressError(f"{error} The nearest here: {', '.join(close)}." if close else str(error)) from None
        # A submodule that is registered under several paths may be addressed by each of them.
        site = self.sites.get(address.point) or self.sites.get(self._first.get(address.point, ""))
        if site is None:
            raise AddressError(unknown("component", text, self._names))
        if address.index is None:
            return replace(_layer(site), address=text)
        if site.width is not None and max(address.index) >= site.width:
            raise AddressError(
                f"{text!r} names unit {max(address.index)}, but {site.path!r} has {site.width} units; "
                f"they go from {Address(site.path, (0,))} to {Address(site.path, (site.width - 1,))}."
            )
        return _unit(site, address)

    def _each_unit(self, site: HookSite) -> list[Component]:
        if site.width is None:
            raise AddressError(
                f"{site.path!r} does not tell how many units it has; name them, such as {Address(site.path, (0,))}, or "
                "declare their weights with weight_axes()."
            )
        return [_unit(site, Address(site.path, (unit,))) for unit in range(site.width)]

    def _some(self, text: str, components: list[Component]) -> list[Component]:
        if not components:
            known = ", ".join(list(self.sites)[:8]) or "none"
            raise AddressError(f"{text!r} matches no component of this module; its hook points are: {known}.")
        return components

    @property
    def _names(self) -> list[str]:
        return [*self.sites, *self.parameters, *WORDS]


def _unit(site: HookSite, address: Address) -> Component:
    index = address.index or ()
    slices = () if site.axes is None else site.axes.incoming + site.axes.bias + site.axes.outgoing
    return Component(
        str(address),
        site.unit if len(index) == 1 else "set",
        site.path,
        index,
        site.unit_axis,
        tuple(WeightSlice(parameter, axis, index) for parameter, axis in slices),
    )


def _layer(site: HookSite) -> Component:
    made_by = () if site.axes is None else site.axes.incoming + site.axes.bias
    weights = tuple(WeightSlice(parameter) for parameter, _ in made_by)
    return Component(site.path, "layer", site.path, None, site.unit_axis, weights)


def _parameter(name: str) -> Component:
    return Component(name, "parameter", weights=(WeightSlice(name),))
