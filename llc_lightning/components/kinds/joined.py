"""Several components as one: sets, and every two of some."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from llc_lightning.components.component import Component
from llc_lightning.components.inventory import Listing
from llc_lightning.runtime.errors import AddressError
from llc_lightning.runtime.kinds import KINDS

PAIRS = "pairs:"
"""Before what names the members."""

_WHOLE = r"(?<!:in)(?<!:out)"
"""No side of what was joined: that is a side's own form."""


@KINDS.register(
    "pair",
    summary="every two, for co-ablation: redundant parts hide alone; `analyze.py ablate` measures the members too",
    plural="pairs",
    level="joined",
    written=(f"{PAIRS}heads",),
    form=rf"{PAIRS}.*{_WHOLE}",
)
def pairs(listing: Listing, text: str) -> list[Component]:
    """Returns every two of what follows the colon.

    Raises:
        AddressError: If that is one component alone.
    """
    single = listing.named(text.removeprefix(PAIRS))
    if len(single) < 2:
        raise AddressError(
            f"{text!r} takes pairs of {single[0].address!r} alone; name at least two components, as in 'pairs:neurons'."
        )
    return [together(pair, "pair") for pair in combinations(single, 2)]


@KINDS.register(
    "set",
    summary="parts together, also of different hook points",
    plural="sets",
    level="joined",
    written=("net.hook_hidden[3,5]", "net.hook_one[3]+net.hook_two"),
    form=rf"(?!{PAIRS}).*\+.*{_WHOLE}",
)
def joined(listing: Listing, text: str) -> list[Component]:
    """Returns what the plus signs join as one component."""
    parts = [part for one in text.split("+") for part in listing.named(one)]
    return [replace(together(parts, "set"), address=text)]


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
