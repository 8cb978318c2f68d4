"""One side of a component: the weights that make it, or those that read it."""

import re

from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.components.inventory import Listing
from llc_lightning.runtime.errors import AddressError
from llc_lightning.runtime.kinds import KINDS

_FORM = r"(?P<whole>.+):(?P<side>in|out)"


@KINDS.register(
    "incoming",
    summary="the weights and biases that make a component, without those that read it",
    plural="incoming sides",
    level="parts",
    written=("neurons:in", "net.hook_hidden[7]:in"),
    form=r".+:in",
)
@KINDS.register(
    "outgoing",
    summary="the weights that read a component, without those that make it",
    plural="outgoing sides",
    level="parts",
    written=("heads:out", "net.hook_hidden[7]:out"),
    form=r".+:out",
)
def sides(listing: Listing, text: str) -> list[Component]:
    """Returns one side of every component that stands before the colon: weights alone, without an activation.

    The restricted LLC of a unit is at most about the sum of its sides': what nobody reads is free on its incoming
    side, what never fires on its outgoing side, so that the smaller of the two is 0 for both.

    Raises:
        AddressError: If a component has no weights on that side, or nothing tells which they are.
    """
    found = re.fullmatch(_FORM, text, re.DOTALL)
    if found is None:
        return []
    return [_side(listing, component, found["side"]) for component in listing.named(found["whole"])]


def _side(listing: Listing, component: Component, side: str) -> Component:
    if not component.point:
        raise AddressError(
            f"{component.address!r} is weights alone, which have no sides; name a hook point or its units before "
            f"':{side}'."
        )
    weights = tuple(one for one in _weights(listing, component) if one.reads == (side == "out"))
    if not weights:
        told = "read" if side == "out" else "make"
        raise AddressError(
            f"nothing tells which weights {told} {component.address!r}, so that it has no side ':{side}'; declare them "
            "in weight_axes(), as outgoing where they read it."
        )
    return Component(f"{component.address}:{side}", "outgoing" if side == "out" else "incoming", weights=weights)


def _weights(listing: Listing, component: Component) -> tuple[WeightSlice, ...]:
    """Returns a component's weights on both sides; a whole hook point alone is made by its own, and read by others."""
    points = [listing.site_of(one.point) for one in component.members if one.point and one.units is None]
    axes = [site.axes for site in points if site is not None and site.axes is not None]
    return (*component.weights, *(WeightSlice(name, reads=True) for one in axes for name, _ in one.outgoing))
