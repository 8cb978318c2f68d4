"""Several components as one."""

from collections.abc import Sequence
from dataclasses import replace

from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import AddressError


def together(parts: Sequence[Component], kind: str) -> Component:
    """Returns parts as one component; units of one hook point, at the same positions, become a set of units of it.

    Raises:
        AddressError: If a part has weights alone, comes twice, or lies within another.
    """
    without = [part.address for part in parts if not part.point or part.parts]
    if without:
        raise AddressError(
            f"{without[0]!r} cannot be part of a set; join hook points, their units or directions by '+'."
        )
    address = "+".join(part.address for part in parts)
    weights = tuple(dict.fromkeys(one for part in parts for one in part.weights))
    groups: dict[object, list[Component]] = {}
    for part in parts:
        apart = part.address if part.units is None else ""
        groups.setdefault((part.point, part.unit_axis, part.positions, apart), []).append(part)
    members = [_of_units(some, address) if len(some) > 1 else some[0] for some in groups.values()]
    points = [member.point for member in members]
    twice = next((point for point in points if points.count(point) > 1), "")
    if twice:
        raise AddressError(
            f"{address!r} takes {twice!r} apart in two ways; of one hook point, join units at the same positions."
        )
    if len(members) == 1:
        return replace(members[0], address=address, kind=kind, weights=weights)
    return Component(address, kind, members[0].point, None, weights=weights, parts=tuple(members))


def _of_units(parts: Sequence[Component], address: str) -> Component:
    """Returns units of one hook point, at the same positions, as a set of units of it.

    Raises:
        AddressError: If a unit comes twice.
    """
    units = [unit for part in parts for unit in part.units or ()]
    if len(set(units)) < len(units):
        raise AddressError(f"{address!r} names a unit twice; name each once.")
    weights = tuple(dict.fromkeys(one for part in parts for one in part.weights))
    return replace(parts[0], address="+".join(part.address for part in parts), units=tuple(units), weights=weights)
