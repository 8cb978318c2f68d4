"""Weights of a HookedTransformer: the same logits, with the bias of the unembedding folded or refused."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.models.hooked_weights import from_hooked_transformer
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.models.transformer_shape import TransformerShape
from llc_lightning.runtime.errors import SettingError

CONFIG: dict[str, Any] = {
    **{"n_layers": 1, "d_model": 4, "n_ctx": 5, "d_head": 2, "n_heads": 2, "d_mlp": 6, "d_vocab": 7},
    **{"act_fn": "gelu_new", "normalization_type": "LN"},
}
TOKENS = torch.tensor([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2]])


def saved(**more: Any) -> tuple[Transformer, dict[str, Tensor]]:
    """A net, and its weights as TransformerLens names them, buffers and the bias of its unembedding included."""
    shape = TransformerShape(d_vocab=7, n_ctx=5, n_layers=1, n_heads=2, d_model=4, d_mlp=6, act="gelu_new", **more)
    net, draws = Transformer(shape), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draws))
    state = {name: value.detach().clone() for name, value in net.named_parameters()}
    state["blocks.0.attn.mask"] = torch.ones(5, 5).tril().bool()
    state["blocks.0.attn.IGNORE"] = torch.tensor(-torch.inf)
    state["unembed.b_U"] = torch.zeros(7)
    return net, state


@pytest.mark.parametrize("config", [CONFIG, SimpleNamespace(**CONFIG)])
def test_a_state_dict_has_the_same_logits(config: Any) -> None:
    net, state = saved()
    assert torch.equal(from_hooked_transformer(state, config)(TOKENS), net(TOKENS))


def test_a_bias_that_was_folded_out_of_the_last_norm_is_folded_back() -> None:
    net, state = saved()
    logits = net(TOKENS)
    state["unembed.b_U"] = state["ln_final.b"] @ state["unembed.W_U"]
    state["ln_final.b"] = torch.zeros(4)
    assert torch.allclose(from_hooked_transformer(state, CONFIG)(TOKENS), logits, atol=1e-5)


def test_norms_without_weights_have_weights_of_one() -> None:
    net, state = saved()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if ".ln" in f".{name}":
                parameter.fill_(float(name.endswith(".w")))
    bare = {name: value for name, value in state.items() if ".ln" not in f".{name}"}
    bare["unembed.b_U"] = torch.randn(4, generator=torch.Generator().manual_seed(1)) @ state["unembed.W_U"]
    found = from_hooked_transformer(bare, {**CONFIG, "normalization_type": "LNPre"})(TOKENS)
    assert torch.allclose(found, net(TOKENS) + bare["unembed.b_U"], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "config", "changed", "message"),
    [
        (
            {},
            {},
            {"unembed.b_U": torch.arange(7.0)},
            "'unembed.b_U' is not 0, and no bias of a last LayerNorm makes it",
        ),
        (
            {"norm": "none"},
            {"normalization_type": None},
            {"unembed.b_U": torch.ones(7)},
            "'unembed.b_U' is not 0, and no bias of a last LayerNorm makes it",
        ),
        (
            {},
            {},
            {"blocks.0.attn._W_K": torch.ones(1)},
            "the state dict has 'blocks.0.attn._W_K', which no Transformer",
        ),
        ({}, {"n_layers": 2}, {}, "the state dict lacks 'blocks.1.attn.W_K'"),
        ({}, {"d_mlp": 5}, {}, "'blocks.0.mlp.W_in' has shape (4, 6) in the state dict, and (4, 5) by"),
        ({}, {"parallel_attn_mlp": True}, {}, "the HookedTransformer has parallel_attn_mlp=True"),
        ({}, {"gated_mlp": True}, {}, "gated_mlp=True"),
    ],
)
def test_what_no_net_here_has_is_refused(
    settings: dict[str, Any], config: dict[str, Any], changed: dict[str, Tensor], message: str
) -> None:
    state = saved(**settings)[1] | changed
    with pytest.raises(SettingError) as raised:
        from_hooked_transformer(state, {**CONFIG, **config})
    assert message in str(raised.value)
