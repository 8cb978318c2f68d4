"""Several components as one: sets, and every two of some."""

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from llc_lightning.components.kinds.complement import BUT
from llc_lightning.runtime.errors import AddressError
from llc_lightning.runtime.kinds import KINDS

if TYPE_CHECKING:  # readers of rows ask for the words of kinds, and need no torch
    from llc_lightning.components.component import Component
    from llc_lightning.components.inventory import Listing

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
def pairs(listing: "Listing", text: str) -> "list[Component]":
    """Returns every two of what follows the colon.

    Raises:
        AddressError: If that is one component alone.
    """
    from llc_lightning.components.together import together

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
    form=rf"(?!{PAIRS}|{BUT}).*\+.*{_WHOLE}",
)
def joined(listing: "Listing", text: str) -> "list[Component]":
    """Returns what the plus signs join as one component."""
    from llc_lightning.components.together import together

    parts = [part for one in text.split("+") for part in listing.named(one)]
    return [replace(together(parts, "set"), address=text)]
