"""Weights to and from TransformerLens: the same net as a ``TransformerBridge``, for the tools that want one."""

from importlib import import_module
from math import isclose, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from llc_lightning.models.transformer_net import Transformer
from llc_lightning.models.transformer_shape import TransformerShape
from llc_lightning.runtime.errors import SettingError

_NORMS = {"layer": "LN", "rms": "RMS", "none": None}
_POSITIONS = {"learned": "standard", "rotary": "rotary"}
_ROTARY_BASE = 10_000
_EPS = 1e-5
"""Of every normalisation; see :mod:`llc_lightning.models.transformer_parts`."""


def to_transformer_lens(net: Transformer) -> Any:
    """Returns a ``transformer_lens.model_bridge.TransformerBridge`` with copies of a net's weights and equal logits.

    It is for looking at: under ``torch.func.functional_call`` such a bridge overwrites its own weights, and it cannot
    be pickled. Train and measure the :class:`Transformer` itself. A net that reads vectors gets a bridge that takes
    ``vectors @ net.embed.W_E`` in the place of tokens.

    Args:
        net: The net.
    """
    bridges: Any = import_module("transformer_lens.model_bridge")
    configs: Any = import_module("transformer_lens.config")
    shape = net.shape
    config = configs.TransformerBridgeConfig(
        d_model=shape.d_model, d_head=shape.head_size, n_heads=shape.n_heads, n_layers=shape.n_layers,
        n_ctx=shape.n_ctx, d_vocab=shape.d_vocab, d_vocab_out=shape.d_vocab_out or shape.d_vocab, d_mlp=shape.d_mlp,
        attn_only=shape.d_mlp is None, act_fn=shape.act, normalization_type=_NORMS[shape.norm],
        positional_embedding_type=_POSITIONS[shape.positions], rotary_base=_ROTARY_BASE,
        rotary_dim=shape.head_size if shape.positions == "rotary" else None, eps=_EPS, seed=0,
        dtype=net.unembed.W_U.dtype,
    )  # fmt: skip
    bridge = bridges.TransformerBridge.boot_native(config)
    bridge.eval()
    bridge.original_model.to(net.unembed.W_U.dtype)
    with torch.no_grad():
        native = dict(bridge.original_model.named_parameters(remove_duplicate=False))
        for own, theirs in _pairs(net.shape):
            if own == "embed.W_E" and shape.d_input is not None:
                continue
            _parameter(native, theirs).copy_(_theirs(own, net.get_parameter(own)))
    return bridge


def from_transformer_lens(bridge: Any) -> Transformer:
    """Returns a :class:`Transformer` with copies of the weights of a bridge from ``boot_native``, and equal logits.

    Args:
        bridge: The bridge; it is not changed.

    Raises:
        SettingError: If it has an option, or a parameter, that :class:`Transformer` lacks.
    """
    shape = shape_of(bridge.cfg)
    native = dict(bridge.original_model.named_parameters(remove_duplicate=False))
    _check_all_are_known(native, shape)
    net = Transformer(shape).to(_parameter(native, "head.weight").dtype)
    with torch.no_grad():
        for own, theirs in _pairs(shape):
            parameter = net.get_parameter(own)
            parameter.copy_(_ours(own, _parameter(native, theirs), parameter))
    return net


def shape_of(config: Any) -> TransformerShape:
    """Returns the shape that a configuration of TransformerLens describes.

    Raises:
        SettingError: If it asks for something that no shape has.
    """
    norms = {value: key for key, value in _NORMS.items()}
    positions = {value: key for key, value in _POSITIONS.items()}
    wanted = {
        "normalization_type": config.normalization_type in norms,
        "positional_embedding_type": config.positional_embedding_type in positions,
        "rotary_dim": config.positional_embedding_type != "rotary" or config.rotary_dim in (None, config.d_head),
        "rotary_base": config.positional_embedding_type != "rotary" or config.rotary_base == _ROTARY_BASE,
        "rope_scaling": config.positional_embedding_type != "rotary" or not getattr(config, "rope_scaling", None),
        "eps": config.normalization_type is None or isclose(config.eps, _EPS),
        "attn_scale": not config.use_attn_scale
        or config.attn_scale <= 0
        or isclose(config.attn_scale, sqrt(config.d_head)),
        "gated_mlp": not config.gated_mlp,
        "n_key_value_heads": config.n_key_value_heads in (None, config.n_heads),
        "attention_dir": config.attention_dir == "causal",
        "attn_scores_soft_cap": config.attn_scores_soft_cap <= 0,
        "output_logits_soft_cap": config.output_logits_soft_cap <= 0,
        "final_rms": not config.final_rms or config.normalization_type == "RMS",
    }
    for name, has in wanted.items():
        if not has:
            raise SettingError(
                f"the bridge has {name}={getattr(config, name)!r}, which no Transformer here has; measure the bridge "
                "itself inside a module with per_example_loss, or train it without."
            )
    return TransformerShape(
        d_vocab=config.d_vocab, n_ctx=config.n_ctx, n_layers=config.n_layers, n_heads=config.n_heads,
        d_model=config.d_model, d_head=config.d_head, d_mlp=None if config.attn_only else config.d_mlp,
        act=config.act_fn or "gelu", norm=norms[config.normalization_type],
        positions=positions[config.positional_embedding_type],
        d_vocab_out=config.d_vocab_out if config.d_vocab_out > 0 else None,
    )  # fmt: skip


def _pairs(shape: TransformerShape) -> list[tuple[str, str]]:
    """Returns every parameter's name here and in ``boot_native``'s model."""
    pairs = [("embed.W_E", "tok_embed.weight"), ("unembed.W_U", "head.weight")]
    if shape.positions == "learned":
        pairs.append(("pos_embed.W_pos", "pos.weight"))
    norms = [("ln_final", "ln_out")]
    for layer in range(shape.n_layers):
        own, theirs = f"blocks.{layer}", f"layers.{layer}"
        norms += [(f"{own}.{name}", f"{theirs}.{name}") for name in (("ln1", "ln2") if shape.d_mlp else ("ln1",))]
        for kind in "QKVO":
            pairs += [
                (f"{own}.attn.W_{kind}", f"{theirs}.attn.{kind.lower()}.weight"),
                (f"{own}.attn.b_{kind}", f"{theirs}.attn.{kind.lower()}.bias"),
            ]
        if shape.d_mlp:
            for own_kind, kind in (("in", "fc_in"), ("out", "fc_out")):
                pairs += [
                    (f"{own}.mlp.W_{own_kind}", f"{theirs}.mlp.{kind}.weight"),
                    (f"{own}.mlp.b_{own_kind}", f"{theirs}.mlp.{kind}.bias"),
                ]
    for own, theirs in norms:
        pairs += [(f"{own}.w", f"{theirs}.weight")] if shape.norm != "none" else []
        pairs += [(f"{own}.b", f"{theirs}.bias")] if shape.norm == "layer" else []
    return pairs


def _theirs(name: str, value: Tensor) -> Tensor:
    """Returns one of our parameters in the shape of theirs, which are the weights of ``nn.Linear``."""
    kind = name.rpartition(".")[2]
    if kind in ("W_Q", "W_K", "W_V"):
        return value.transpose(1, 2).flatten(0, 1)
    if kind == "W_O":
        return value.flatten(0, 1).T
    if kind in ("W_in", "W_out", "W_U"):
        return value.T
    return value.flatten() if kind in ("b_Q", "b_K", "b_V") else value


def _ours(name: str, value: Tensor, like: Tensor) -> Tensor:
    """Returns one of their parameters in the shape of ours."""
    kind = name.rpartition(".")[2]
    if kind in ("W_Q", "W_K", "W_V"):
        heads, d_model, d_head = like.shape
        return value.view(heads, d_head, d_model).transpose(1, 2)
    return (value.T if kind in ("W_O", "W_in", "W_out", "W_U") else value).reshape(like.shape)


def _check_all_are_known(native: dict[str, nn.Parameter], shape: TransformerShape) -> None:
    """Raises where a bridge has a parameter that no pair names, such as the bias of another version's head."""
    known = {id(_parameter(native, theirs)) for _, theirs in _pairs(shape)}  # which may have several names
    if left := sorted({_native_name(name) for name, one in native.items() if id(one) not in known}):
        raise SettingError(
            f"the bridge has parameters that no Transformer here has: {', '.join(left)}; without them the logits would "
            "be others. Use transformer-lens 4.2 or newer, or measure the bridge itself inside a module with "
            "per_example_loss."
        )


def _native_name(known: str) -> str:
    """Returns the name of a parameter in the wrapped model, where the bridge has put wrappers on the way."""
    return known.replace("_original_component.", "")


def _parameter(native: dict[str, nn.Parameter], name: str) -> nn.Parameter:
    """Returns a parameter of the wrapped model."""
    for known, parameter in native.items():
        if _native_name(known) == name:
            return parameter
    raise SettingError(f"the bridge has no parameter {name!r}; give one from TransformerBridge.boot_native.")
