"""Heads of attention."""

from llc_lightning.components.every_unit import units
from llc_lightning.runtime.kinds import KINDS, HookName

KINDS.register(
    "head",
    summary="a head of an attention layer",
    plural="heads",
    level="units",
    written=("heads", "blocks.0.attn.hook_z[1]", "net.0:input[1]"),
    order=3,
    word="heads",
    whole="attention",
    size="n_heads",
    hooks=(
        HookName(r"hook_z", unit_axis=-2, output=True),
        HookName(r"o\.hook_in", grouped=True, output=True),
        HookName(r"hook_(rot_)?[kv]", unit_axis=-2, size="n_key_value_heads"),
        HookName(r"hook_(rot_)?q|hook_result", unit_axis=-2),
        HookName(r"hook_(pattern|attn_scores)", unit_axis=-3),
        HookName(r"[kv]\.hook_out", grouped=True, size="n_key_value_heads"),
        HookName(r"q\.hook_out", grouped=True),
    ),
)(units)
