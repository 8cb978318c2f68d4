"""Coordinates of what attention and MLPs write."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "projection",
    summary="an output of the map with which attention or the MLP of a transformer writes to the residual stream",
    plural="projections",
    level="units",
    written=("projections", "net.0.attn.c_proj[3]"),
    order=6,
    word="projections",
)(units)
