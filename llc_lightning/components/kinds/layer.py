"""All units of one hook point together."""

from typing import TYPE_CHECKING

from llc_lightning.runtime.errors import AddressError
from llc_lightning.runtime.kinds import KINDS

if TYPE_CHECKING:  # readers of rows ask for the words of kinds, and need no torch
    from llc_lightning.components.component import Component
    from llc_lightning.components.inventory import Listing


@KINDS.register(
    "layer",
    summary="a hook point, the output of a submodule: all of its units, with the weights and bias that make them",
    plural="layers",
    level="layers",
    written=("layers", "net.hook_hidden", "net.*"),
    word="layers",
)
def layers(listing: "Listing", text: str) -> "list[Component]":
    """Returns the hook points whose weights are known.

    Raises:
        AddressError: If there is none.
    """
    from llc_lightning.components.inventory import layer

    found = [layer(site) for site in listing.sites.values() if site.weights]
    if listing.sites and not found:
        raise AddressError(
            "'layers' finds no hook point of this module whose weights are known; its hook points are: "
            f"{listing.known}. Address some of them, or declare their weights with weight_axes()."
        )
    return listing.some(text, found)
