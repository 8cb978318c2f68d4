"""Coordinates of queries, keys and values that one map gives."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "qkv",
    summary="a coordinate of what one map gives as queries, keys and values",
    plural="query, key and value coordinates",
    level="units",
    written=("qkvs", "net.0.attn.c_attn[3]"),
    order=10,
    word="qkvs",
)(units)
