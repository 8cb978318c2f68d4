"""What there is to name in a module: hook points, their units, parameters."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from torch import nn

from llc_lightning.components.address import POSITIONS, UNITS, Address
from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.components.hooks import HookSite, hook_sites, submodules
from llc_lightning.components.ports import CALL, Place
from llc_lightning.runtime.errors import AddressError, nearest, unknown
from llc_lightning.runtime.kinds import KINDS

_GLOB = re.compile(rf"(?P<points>[^\[\]@]+)(?:\[(?P<units>\*|{UNITS})\])?(?P<at>@{POSITIONS})?")


def entries(spec: str | Component | Sequence[str | Component]) -> Iterator[str | Component]:
    """Yields what a spec consists of.

    Raises:
        AddressError: If an entry is neither text nor a component.
    """
    for entry in spec if isinstance(spec, Iterable) and not isinstance(spec, str) else [spec]:
        if not isinstance(entry, str | Component):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise AddressError(f"{entry!r} names no component; give an address, a glob, or a word such as 'neurons'.")
        yield entry


class Listing:
    """What there is to name in a module."""

    def __init__(self, module: nn.Module, *, uncalled: Collection[str] = ()) -> None:
        self.module = module
        self.sites = hook_sites(module, uncalled=uncalled)
        self.parameters = dict(module.named_parameters())
        self._paths = {id(part): path for path, part in submodules(module).items()}
        self._first = {path: self._paths[id(part)] for path, part in submodules(module, every_name=True).items()}

    def named(self, text: str) -> list[Component]:
        """Returns what one entry of a spec names."""
        for _, entry in KINDS.items():
            if entry.item and entry.facts.names(text):
                return entry.item(self, text)
        if "*" in text or "?" in text:
            return self.some(text, self._matching(text))
        if text in self.parameters:
            return [parameter(text)]
        return [self._addressed(text)]

    def names_several(self, text: str) -> bool:
        """Says whether a text is a word or a glob, and not the address of one component."""
        words = {entry.facts.word for _, entry in KINDS.items()} - {""}
        whole = text.removesuffix(":in").removesuffix(":out")
        return whole in words or "*" in text or "?" in text

    def _matching(self, text: str) -> list[Component]:
        glob = _GLOB.fullmatch(text)
        if glob is None:
            raise AddressError(
                f"cannot read the glob {text!r}; write one over hook points such as 'net.*', over their units such as "
                "'net.*[*]', or over some of them such as 'net.*[3,5]'."
            )
        points, units, at = glob["points"], glob["units"], glob["at"] or ""
        sites = [site for site in self.sites.values() if fnmatchcase(site.path, points)] or self._by_other_names(points)
        if units == "*" and not at:
            return [unit for site in sites for unit in self.each_unit(site)]
        if units == "*":
            return [self._addressed(f"{unit.address}{at}") for site in sites for unit in self.each_unit(site)]
        if units is None and not at:
            return [layer(site) for site in sites]
        return [self._addressed(f"{site.path}{'' if units is None else f'[{units}]'}{at}") for site in sites]

    def _addressed(self, text: str) -> Component:
        try:
            address = Address.parse(text)
        except AddressError as error:
            close = nearest(text, self._names)
            raise AddressError(f"{error} The nearest here: {', '.join(close)}." if close else str(error)) from None
        site = self.site(text, address.point)
        if address.index is None:
            whole = replace(layer(site), address=text, positions=address.positions)
            return whole if address.positions is None else replace(whole, kind="position")
        if site.width is not None and max(address.index) >= site.width:
            raise AddressError(
                f"{text!r} names unit {max(address.index)}, but {site.path!r} has {site.width} units; "
                f"they go from {Address(site.path, (0,))} to {Address(site.path, (site.width - 1,))}."
            )
        return _unit(site, text, address.index, address.positions)

    def site(self, text: str, point: str) -> HookSite:
        """Returns the hook point of a path, which is part of ``text``.

        Raises:
            AddressError: If there is none.
        """
        site = self.site_of(point)
        if site is not None:
            return site
        raise AddressError(unknown("component", text, self._names))

    def site_of(self, point: str) -> HookSite | None:
        """Returns the hook point of a path, or of one call of it; None where there is none."""
        # A submodule that is registered under several paths, or has other names, may be addressed by each of them.
        site = self.sites.get(point) or self.sites.get(self._first.get(point, "")) or self._by_other_name(point)
        place = Place.of(point)
        if site is None and place.call is not None:
            called = self.site_of(point.removesuffix(f"{CALL}{place.call}"))
            return None if called is None else replace(called, path=point)
        return site

    def _by_other_name(self, point: str) -> HookSite | None:
        """Returns the hook point that a module finds under a name that it registers nothing under; None for none."""
        try:
            part = self.module.get_submodule(point)
        except AttributeError:
            return None
        return self.sites.get(self._paths.get(id(part), ""))

    def _by_other_names(self, glob: str) -> list[HookSite]:
        """Returns the hook points whose last name is another one, below the submodules that a glob matches."""
        parent, _, name = glob.rpartition(".")
        if not parent or "*" in name or "?" in name:
            return []
        paths = [path for path in self._paths.values() if fnmatchcase(path, parent)]
        found = {site.path: site for path in paths if (site := self.site_of(f"{path}.{name}")) is not None}
        return list(found.values())

    def each_unit(self, site: HookSite) -> list[Component]:
        """Returns every unit of a hook point as a component.

        Raises:
            AddressError: If it does not tell how many it has.
        """
        if site.width is None:
            raise AddressError(
                f"{site.path!r} does not tell how many units it has; name them, such as {Address(site.path, (0,))}, or "
                "declare their weights with weight_axes()."
            )
        point = str(Address(site.path))
        return [_unit(site, f"{point}[{unit}]", (unit,)) for unit in range(site.width)]

    def some(self, text: str, components: list[Component]) -> list[Component]:
        """Returns the components that ``text`` names.

        Raises:
            AddressError: If there is none.
        """
        if not components:
            hint = "" if not self.sites else f"; name one, or its units, such as {next(iter(self.sites)) + '[*]'!r}"
            raise AddressError(
                f"{text!r} matches no component of this module; its hook points are: {self.known}{hint}."
            )
        return components

    @property
    def known(self) -> str:
        """The first of the hook points, for messages."""
        names = list(self.sites)
        return ", ".join([*names[:8], *([f"and {len(names) - 8} more"] if len(names) > 8 else [])]) or "none"

    @property
    def _names(self) -> list[str]:
        words = {entry.facts.word for _, entry in KINDS.items()} - {""}
        return [*self.sites, *self.parameters, *sorted(words)]


def _unit(site: HookSite, address: str, index: tuple[int, ...], positions: tuple[int, ...] | None = None) -> Component:
    features = tuple(unit * site.group + feature for unit in index for feature in range(site.group))
    made, read = ((), ()) if site.axes is None else (site.axes.incoming + site.axes.bias, site.axes.outgoing)
    rows = (WeightSlice(one.parameter, one.axis, one.of(index, site.width or 0), one.reads) for one in site.rows)
    return Component(
        address,
        site.unit if len(index) == 1 else "set",
        site.path,
        features,
        site.unit_axis,
        (
            *(WeightSlice(parameter, axis, index) for parameter, axis in made),
            *(WeightSlice(parameter, axis, index, reads=True) for parameter, axis in read),
            *rows,
        ),
        positions,
        most_axes=site.most_axes,
    )


def layer(site: HookSite) -> Component:
    """Returns all units of a hook point as one component."""
    weights = tuple(WeightSlice(parameter) for parameter in site.weights)
    return Component(site.path, site.known.whole, site.path, None, site.unit_axis, weights)


def parameter(name: str) -> Component:
    """Returns one parameter as a component."""
    return Component(name, "parameter", weights=(WeightSlice(name),))
