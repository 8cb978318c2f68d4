"""Weights to and from TransformerLens: equal logits and activations for every option that both have."""

from itertools import product
from typing import Any

import pytest
import torch
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from llc_lightning.models.bridge import from_transformer_lens, shape_of, to_transformer_lens
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.models.transformer_shape import ACTIVATIONS, NORMS, POSITIONS, TransformerShape
from llc_lightning.runtime.errors import SettingError

SMALL: dict[str, Any] = {"d_vocab": 7, "n_ctx": 6, "n_heads": 2, "d_model": 8}
MLPS: list[dict[str, Any]] = [{}, *({"act": act, "d_mlp": 12} for act in ACTIVATIONS)]
OPTIONS: list[dict[str, Any]] = [
    {"d_head": 6, "d_vocab_out": 3},
    *({"norm": norm, "positions": positions} | mlp for norm, positions, mlp in product(NORMS, POSITIONS, MLPS)),
]


def net_of(**settings: Any) -> Transformer:
    """A net whose every parameter matters to its logits, which are of order 1."""
    net, draws = Transformer(TransformerShape(**{**SMALL, **settings})), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draws))
    return net


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 7, (5, 6))


@pytest.mark.parametrize("settings", OPTIONS)
def test_the_logits_are_equal_both_ways(settings: dict[str, Any], tokens: torch.Tensor) -> None:
    net = net_of(**settings)
    logits = net(tokens)
    bridge = to_transformer_lens(net)
    assert torch.allclose(bridge(tokens), logits, rtol=0, atol=1e-5)
    assert torch.equal(from_transformer_lens(bridge)(tokens), logits)


def test_double_precision_is_kept_both_ways(tokens: torch.Tensor) -> None:
    net = net_of(d_mlp=12).double()
    bridge = to_transformer_lens(net)
    assert torch.allclose(bridge(tokens), net(tokens), rtol=0, atol=1e-13)
    back = from_transformer_lens(bridge)
    assert {parameter.dtype for parameter in back.parameters()} == {torch.float64}
    assert torch.equal(back(tokens), net(tokens))


def test_a_parameter_that_no_net_here_has_is_refused() -> None:
    bridge = to_transformer_lens(net_of())
    bridge.original_model.extra = torch.nn.Linear(1, 1, bias=False)
    with pytest.raises(SettingError, match=r"has parameters that no Transformer here has: extra\.weight; without them"):
        from_transformer_lens(bridge)


def test_the_activations_have_the_same_names_and_values(tokens: torch.Tensor) -> None:
    net = net_of(d_mlp=12)
    _, ours = net.run_with_cache(tokens)
    _, theirs = to_transformer_lens(net).run_with_cache(tokens)
    # Theirs is named before the scale and shift of a LayerNorm, and its scores before and after masking differ by -inf.
    different = {name for name in ours if name.endswith(("hook_normalized", "hook_scale", "hook_attn_scores"))}
    shared = set(ours) - different
    assert shared >= {"blocks.1.attn.hook_pattern", "blocks.0.attn.hook_z", "blocks.1.mlp.hook_post", "hook_embed"}
    for name in shared:
        assert torch.allclose(ours[name], theirs[name], atol=1e-5), name


def test_a_bridge_of_ones_own_can_be_read(tokens: torch.Tensor) -> None:
    config = TransformerBridgeConfig(
        d_model=8, d_head=4, n_heads=2, n_layers=1, n_ctx=6, d_vocab=7, d_mlp=12, act_fn="relu", seed=3
    )
    bridge = TransformerBridge.boot_native(config)
    net = from_transformer_lens(bridge)
    assert (net.shape.d_mlp, net.shape.norm, net.shape.n_layers) == (12, "layer", 1)
    assert torch.allclose(net(tokens), bridge(tokens), rtol=0, atol=1e-5)


def test_an_activation_that_is_not_named_is_the_one_that_the_bridge_takes(tokens: torch.Tensor) -> None:
    config = TransformerBridgeConfig(
        d_model=8, d_head=4, n_heads=2, n_layers=1, n_ctx=6, d_vocab=7, d_mlp=12, act_fn=None, seed=3
    )
    bridge = TransformerBridge.boot_native(config)
    with torch.no_grad():
        for parameter in bridge.original_model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(from_transformer_lens(bridge)(tokens), bridge(tokens), rtol=0, atol=1e-5)


def test_a_net_that_reads_vectors_goes_by_its_embeddings() -> None:
    net, vectors = net_of(d_input=3, d_vocab_out=1), torch.randn(5, 6, 3)
    bridge = to_transformer_lens(net)
    assert torch.allclose(bridge(vectors @ net.embed.W_E), net(vectors), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "option",
    [
        {"normalization_type": "LNPre"},
        {"gated_mlp": True},
        {"n_key_value_heads": 1},
        {"output_logits_soft_cap": 3.0},
        {"eps": 0.01},
        {"attn_scale": 5.0},
    ],
)
def test_refuses_what_no_net_here_has(option: dict[str, Any]) -> None:
    config = TransformerBridgeConfig(
        d_model=8, d_head=4, n_heads=2, n_layers=1, n_ctx=6, d_vocab=7, act_fn="relu", **option
    )
    name, value = next(iter(option.items()))
    with pytest.raises(SettingError, match=f"the bridge has {name}={value!r}, which no Transformer here has"):
        shape_of(config)
