"""Coordinates of queries."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "query",
    summary="a coordinate of the queries of an attention layer",
    plural="query coordinates",
    level="units",
    written=("queries", "net.0.attn.q_proj[3]"),
    order=7,
    word="queries",
)(units)
