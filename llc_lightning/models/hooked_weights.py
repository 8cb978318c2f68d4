"""Weights that ``HookedTransformer`` of TransformerLens 1 to 3 saved: the same net, to be trained and measured here."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from llc_lightning.models.bridge import shape_of
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.runtime.errors import SettingError

_ABSENT: Mapping[str, object] = {
    **{"rotary_dim": None, "rotary_base": 10_000, "rope_scaling": None, "rotary_adjacent_pairs": False, "eps": 1e-5},
    **{"use_attn_scale": True, "attn_scale": -1.0, "gated_mlp": False, "n_key_value_heads": None, "attn_only": False},
    **{"attention_dir": "causal", "attn_scores_soft_cap": -1.0, "output_logits_soft_cap": -1.0, "final_rms": False},
    **{"positional_embedding_type": "standard", "normalization_type": "LN", "d_vocab_out": -1, "d_mlp": None},
    **{"parallel_attn_mlp": False, "use_local_attn": False, "post_embedding_ln": False, "act_fn": "relu"},
}
"""What a configuration of an older version, which lacks an option, did."""

_ON_THE_SIDE = ("attn.mask", "attn.IGNORE", "attn.rotary_sin", "attn.rotary_cos")
"""Entries of a state dict that are no weights."""

_UNEMBED_BIAS = "unembed.b_U"
_TOLERANCE = 1e-5


def from_hooked_transformer(state: Mapping[str, Tensor], config: object) -> Transformer:
    """Returns a :class:`Transformer` with the weights of a ``HookedTransformer`` and equal logits.

    Normalisation without weights (``LNPre``, ``RMSPre``) is one with weights of 1. The bias of the unembedding, which
    no net here has, is folded into that of the last LayerNorm where that makes it (as where TransformerLens folded it
    out), and refused elsewhere.

    Args:
        state: ``model.state_dict()``, or what ``torch.load(path, weights_only=True)`` gives of it.
        config: ``model.cfg``, or a mapping of its options; those that it lacks are as TransformerLens 1 had them.

    Raises:
        SettingError: If it has an option or a weight that :class:`Transformer` lacks, or lacks one itself.
    """
    given = cast("Mapping[str, object]", config) if isinstance(config, Mapping) else vars(config)
    known = SimpleNamespace(**{**_ABSENT, **given})
    for name in ("rotary_adjacent_pairs", "parallel_attn_mlp", "use_local_attn", "post_embedding_ln"):
        if getattr(known, name):
            raise SettingError(
                f"the HookedTransformer has {name}={getattr(known, name)!r}, which no Transformer here has."
            )
    plain = str(known.normalization_type).endswith("Pre")
    known.normalization_type = str(known.normalization_type).removesuffix("Pre") if plain else known.normalization_type
    net = Transformer(shape_of(known))
    weights = {name: value for name, value in state.items() if not name.endswith(_ON_THE_SIDE)}
    bias = weights.pop(_UNEMBED_BIAS, None)
    if plain:
        norms = {name: value for name, value in net.named_parameters() if ".ln" in f".{name}"}
        weights |= {name: torch.full_like(value, float(name.endswith(".w"))) for name, value in norms.items()}
    own = dict(net.named_parameters())
    lacks, more = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if lacks or more:
        told = f"lacks {lacks[0]!r}" if lacks else f"has {more[0]!r}, which no Transformer here has"
        raise SettingError(f"the state dict {told}; give that of a HookedTransformer with this configuration.")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != weights[name].shape:
                raise SettingError(
                    f"{name!r} has shape {tuple(weights[name].shape)} in the state dict, and {tuple(parameter.shape)} "
                    "by the configuration; give the configuration of the same model."
                )
            parameter.copy_(weights[name])
        if bias is not None:
            _fold(net, bias)
    return net


def _fold(net: Transformer, bias: Tensor) -> None:
    """Adds the bias of the unembedding to that of the last LayerNorm.

    Raises:
        SettingError: If it is not what the unembedding makes of any.
    """
    if not bool(bias.any()):
        return
    found, unembed = dict(net.named_parameters()), net.get_parameter("unembed.W_U").double()
    linalg: Any = torch.linalg  # its functions carry no types
    shift: Tensor = linalg.lstsq(unembed.T, bias.double()[:, None]).solution[:, 0]
    left = (shift @ unembed - bias).abs().max()
    if "ln_final.b" not in found or float(left) > _TOLERANCE * (1 + float(bias.abs().max())):
        raise SettingError(
            f"{_UNEMBED_BIAS!r} is not 0, and no bias of a last LayerNorm makes it: no Transformer here has such; "
            "measure the model itself inside a module with per_example_loss."
        )
    found["ln_final.b"].add_(shift.to(bias.dtype))
