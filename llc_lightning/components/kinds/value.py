"""Coordinates of values."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "value",
    summary="a coordinate of the values of an attention layer",
    plural="value coordinates",
    level="units",
    written=("values", "net.0.attn.v_proj[3]"),
    order=9,
    word="values",
)(units)
