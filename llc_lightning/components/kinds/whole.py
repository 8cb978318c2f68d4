"""The whole model, and single parameters: components without an activation side."""

from typing import TYPE_CHECKING

from llc_lightning.runtime.kinds import KINDS

if TYPE_CHECKING:  # readers of rows ask for the words of kinds, and need no torch
    from llc_lightning.components.component import Component
    from llc_lightning.components.inventory import Listing


@KINDS.register(
    "all",
    summary="the whole model: all weights that are trained",
    plural="whole models",
    level="model",
    written=("all",),
    word="all",
)
def whole(listing: "Listing", text: str) -> "list[Component]":
    """Returns the component of all trainable weights."""
    from llc_lightning.components.component import Component, WeightSlice

    trainable = [name for name, weights in listing.parameters.items() if weights.requires_grad]
    return [Component("all", text, weights=tuple(WeightSlice(name) for name in trainable))]


@KINDS.register(
    "parameter",
    summary="one tensor of weights, by its name",
    plural="parameters",
    level="joined",
    written=("parameters", "net.0.weight"),
    word="parameters",
)
def parameters(listing: "Listing", text: str) -> "list[Component]":
    """Returns a component for each parameter."""
    from llc_lightning.components.inventory import parameter

    return [parameter(name) for name in listing.parameters]
