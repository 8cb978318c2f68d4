"""Coordinates of keys."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "key",
    summary="a coordinate of the keys of an attention layer",
    plural="key coordinates",
    level="units",
    written=("keys", "net.0.attn.k_proj[3]"),
    order=8,
    word="keys",
)(units)
