"""Channels of images."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS

KINDS.register(
    "channel",
    summary="a hidden channel of a convolution, at all of its places",
    plural="channels",
    level="units",
    written=("channels", "net.hook_conv[7]"),
    order=2,
    word="channels",
)(units)
KINDS.register(
    "channel_in",
    summary="a channel of a convolution of a module that declares nothing: its kernels and bias alone",
    plural="channels",
    called="channel",
    level="units",
    written=("channels", "neurons", "net.0[7]"),
    order=5,
    word="channels",
    wider="neurons",
)(units)
