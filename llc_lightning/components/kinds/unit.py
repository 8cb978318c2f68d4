"""Units of which no more is known than that they are entries of an activation."""

from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "unit",
    summary="an entry of an activation, where no more is known",
    plural="units",
    level="units",
    written=("net.1[7]",),
    order=12,
)(None)
