"""Outputs of the network."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "output",
    summary="an output of the network: of what is declared so, else of its last linear map",
    plural="outputs",
    level="units",
    written=("logits", "net.hook_out[7]"),
    order=11,
    word="logits",
)(units)
