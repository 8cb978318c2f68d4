"""Units that are not hidden, or of which no more is known than that they are entries of an activation."""

from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "output",
    summary="an output of the network",
    plural="outputs",
    level="units",
    written=("net.hook_out[7]",),
    order=5,
)(None)
KINDS.register(
    "unit",
    summary="an entry of an activation, where no more is known",
    plural="units",
    level="units",
    written=("net.1[7]",),
    order=6,
)(None)
