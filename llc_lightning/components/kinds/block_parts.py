"""Hook points of TransformerLens, in its hooked models and in its bridges, that have a word of their own."""

from llc_lightning.runtime.kinds import KINDS, HookName

KINDS.register(
    "mlp",
    summary="what an MLP adds to the residual stream",
    plural="mlps",
    level="parts",
    written=("blocks.0.hook_mlp_out",),
    hooks=(HookName(r"hook_mlp_out|mlp\.hook_out"),),
)(None)
KINDS.register(
    "attention",
    summary="all heads of a layer, or what they add to the residual stream",
    plural="attentions",
    level="parts",
    written=("blocks.0.hook_attn_out", "blocks.0.attn.hook_z"),
    hooks=(HookName(r"hook_attn_out|attn\.hook_out"),),
)(None)
KINDS.register(
    "residual",
    summary="the residual stream at one place",
    plural="residuals",
    level="parts",
    written=("blocks.0.hook_resid_post",),
    hooks=(HookName(r"hook_resid_(pre|mid|post)|blocks\.\d+\.hook_(in|out)"),),
)(None)
KINDS.register(
    "embedding",
    summary="what the embedding of tokens or of positions gives",
    plural="embeddings",
    level="parts",
    written=("hook_embed",),
    hooks=(HookName(r"hook_(pos_)?embed|(pos_)?embed\.hook_out"),),
)(None)
