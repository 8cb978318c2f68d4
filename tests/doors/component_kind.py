"""A kind of component, as a contributor would write it: every second unit of each hook point."""

from dataclasses import replace

from llc_lightning.components.component import Component
from llc_lightning.components.inventory import Listing
from llc_lightning.runtime.kinds import KINDS


@KINDS.register(
    "half",
    summary="every second unit of a hook point",
    plural="halves",
    level="parts",
    written=("halves",),
    word="halves",
)
def halves(listing: Listing, text: str) -> list[Component]:
    sets = [(site.path, range(0, site.width, 2)) for site in listing.sites.values() if site.axes and site.width]
    return [
        replace(component, kind="half")
        for path, units in sets
        for component in listing.named(f"{path}[{','.join(map(str, units))}]")
    ]
