"""Connections between parts, which the graph of a network lists."""

from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "edge",
    summary="what one part says to another, measured by `circuit` (`docs/circuits.md`)",
    plural="edges",
    level="joined",
    written=("net.hook_embed -> net.blocks.0.attn.hook_q[1]",),
)(None)
