"""How most kinds list their components: every unit of the hook points that have such units."""

from typing import TYPE_CHECKING

from llc_lightning.runtime.kinds import KINDS

if TYPE_CHECKING:  # readers of rows ask for the words of kinds, and need no torch
    from llc_lightning.components.component import Component
    from llc_lightning.components.inventory import Listing


def units(listing: "Listing", text: str) -> "list[Component]":
    """Returns each unit that a word names: of the hook points whose units are of a kind with that word."""
    kinds = {name for name, entry in KINDS.items() if text in (entry.facts.word, entry.facts.wider)}
    sites = [site for site in listing.sites.values() if site.unit in kinds]
    # One hook point for each unit: what a module declares, else what names call the units' output.
    declared = [site for site in sites if site.axes is not None or site.walked]
    chosen = declared or [site for site in sites if site.known.output]
    return listing.some(text, [unit for site in chosen or sites for unit in listing.each_unit(site)])
