"""Directions in the space of a hook point's units: what lies along them can be ablated, and nothing else."""

import re
from typing import TYPE_CHECKING

from llc_lightning.runtime.kinds import KINDS

if TYPE_CHECKING:  # readers of rows ask for the words of kinds, and need no torch
    from llc_lightning.components.component import Component
    from llc_lightning.components.inventory import Listing

_FORM = r"(?P<point>[^\[\]*?@+{}]+)\{(?P<file>[^{}+]+)\}"


@KINDS.register(
    "direction",
    summary="directions in the space of the units, one in a row of the file",
    plural="directions",
    level="parts",
    written=("net.hook_hidden{file.npy}",),
    form=_FORM,
)
def directions(listing: "Listing", text: str) -> "list[Component]":
    """Returns the component of the directions in a file."""
    from llc_lightning.components.directions import direction

    found = re.fullmatch(_FORM, text, re.DOTALL)
    return [] if found is None else [direction(text, listing.site(text, found["point"]).path, found["file"])]
