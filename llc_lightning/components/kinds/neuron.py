"""Neurons: units with what feeds them and what reads them, or with what feeds them alone."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS, HookName

KINDS.register(
    "neuron",
    summary="a hidden unit, with its incoming row, its bias and its outgoing column",
    plural="neurons",
    level="units",
    written=("neurons", "net.hook_hidden[7]"),
    order=1,
    word="neurons",
    size="d_mlp",
    hooks=(
        HookName(r"hook_post|(fc_out|mlp\.out)\.hook_in", output=True),
        HookName(r"hook_pre|(fc_in|mlp\.in)\.hook_out"),
    ),
)(units)
KINDS.register(
    "neuron_in",
    summary="a hidden output of a linear map of a module that declares nothing: its row and bias alone",
    plural="neurons",
    called="neuron",
    level="units",
    written=("neurons", "net.0[7]"),
    order=4,
    word="neurons",
)(units)
