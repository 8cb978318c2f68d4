"""One side of a component."""

from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.components.inventory import Listing
from llc_lightning.runtime.errors import AddressError


def one_side(listing: Listing, component: Component, side: str) -> Component:
    """Returns the weights that make a component (``in``), or those that read it (``out``).

    Raises:
        AddressError: If it has no weights on that side, or nothing tells which they are.
    """
    if not component.point:
        raise AddressError(
            f"{component.address!r} is weights alone, which have no sides; name a hook point or its units before "
            f"':{side}'."
        )
    if any(one.basis is not None for one in component.members):
        raise AddressError(f"{component.address!r} has directions, which no weights make or read alone; name units.")
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
