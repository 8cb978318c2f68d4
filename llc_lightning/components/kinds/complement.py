"""All trained weights but those of a component."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llc_lightning.runtime.errors import AddressError
from llc_lightning.runtime.kinds import KINDS

if TYPE_CHECKING:  # readers of rows ask for the words of kinds, and need no torch
    from llc_lightning.components.component import Component, WeightSlice
    from llc_lightning.components.inventory import Listing

BUT = "all-"
"""What stands before the component that is left out."""


@KINDS.register(
    "complement",
    summary="all trained weights but those of a component, or of several joined by `+`",
    plural="complements",
    level="joined",
    written=("all-net.blocks.0.attn.hook_z[1]",),
    form=rf"{BUT}.*(?<!:in)(?<!:out)",
)
def complements(listing: "Listing", text: str) -> "list[Component]":
    """Returns the complement of every component that stands behind the word: weights alone, without an activation.

    Raises:
        AddressError: If nothing is left, or two parts of a component take different axes of one parameter.
    """
    from llc_lightning.components.component import Component

    found: list[Component] = []
    for component in listing.named(text.removeprefix(BUT)):
        rest = [
            left
            for name, weights in listing.parameters.items()
            if weights.requires_grad and (left := _left(component, name, weights.shape)) is not None
        ]
        if not rest:
            raise AddressError(f"{component.address!r} has all trained weights, so that {text!r} has none.")
        found.append(Component(f"{BUT}{component.address}", "complement", weights=tuple(rest)))
    return found


def _left(component: "Component", name: str, shape: Sequence[int]) -> "WeightSlice | None":
    """Returns what a component leaves of a parameter; None where it has all of it."""
    from llc_lightning.components.component import WeightSlice

    taken = [one for one in component.weights if one.parameter == name]
    if not taken:
        return WeightSlice(name)
    if any(one.index is None for one in taken):
        return None
    axes = {one.axis % len(shape) for one in taken}
    if len(axes) > 1:
        raise AddressError(
            f"parts of {component.address!r} take different axes of {name!r}, so that what they leave is no slice of "
            "it; take the complement of each of them."
        )
    (axis,) = axes
    kept = set(range(shape[axis])) - {at for one in taken for at in one.index or ()}
    return replace(taken[0], axis=axis, index=tuple(sorted(kept)), reads=False) if kept else None
