"""Positions of a sequence."""

from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "position",
    summary="a hook point at one or several positions of a sequence; negative ones count from the last",
    plural="positions",
    level="parts",
    written=("net.hook_resid@-1", "net.hook_resid@0,1"),
)(None)
