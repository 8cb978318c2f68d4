"""One side of a component: the weights that make it, or those that read it."""

import re
from typing import TYPE_CHECKING

from llc_lightning.runtime.kinds import KINDS

if TYPE_CHECKING:  # readers of rows ask for the words of kinds, and need no torch
    from llc_lightning.components.component import Component
    from llc_lightning.components.inventory import Listing

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
def sides(listing: "Listing", text: str) -> "list[Component]":
    """Returns one side of every component that stands before the colon: weights alone, without an activation.

    The restricted LLC of a unit is at most about the sum of its sides': what nobody reads is free on its incoming
    side, what never fires on its outgoing side, so that the smaller of the two is 0 for both.

    Raises:
        AddressError: If a component has no weights on that side, or nothing tells which they are.
    """
    from llc_lightning.components.one_side import one_side

    found = re.fullmatch(_FORM, text, re.DOTALL)
    if found is None:
        return []
    return [one_side(listing, component, found["side"]) for component in listing.named(found["whole"])]
