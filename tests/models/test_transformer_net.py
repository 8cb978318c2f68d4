"""The small transformer: its hook points and weights by the names of TransformerLens, and what may be done to it."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.models.transformer_parts import rotated
from llc_lightning.models.transformer_shape import TransformerShape
from llc_lightning.runtime.errors import DataError, SettingError

SMALL = {"d_vocab": 7, "n_ctx": 6, "n_layers": 2, "n_heads": 2, "d_model": 8, "d_mlp": 12}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"d_mlp": None},
    {"norm": "rms"},
    {"norm": "none", "d_head": 3},
    {"positions": "rotary"},
    {"head_results": True},
    {"act": "gelu_new", "d_vocab_out": 3},
]


def net_of(**settings: Any) -> Transformer:
    return Transformer(TransformerShape(**{**SMALL, **settings}))


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 7, (5, 6), generator=torch.Generator().manual_seed(0))


def by_hand(net: Transformer, tokens: Tensor) -> Tensor:
    """The same in plain loops over positions and heads, for learned positions and LayerNorm."""

    def normalised(x: Tensor, part: Any) -> Tensor:
        return torch.nn.functional.layer_norm(x, x.shape[-1:], part.w, part.b)

    logits: list[Tensor] = []
    for row in tokens:
        x = net.embed.W_E[row] + net.pos_embed.W_pos[: len(row)]
        for block in net.blocks:
            attn, read, added = block.attn, normalised(x, block.ln1), [block.attn.b_O.clone() for _ in row]
            for head in range(net.shape.n_heads):
                q, k, v = (read @ getattr(attn, f"W_{kind}")[head] + getattr(attn, f"b_{kind}")[head] for kind in "QKV")
                for t in range(len(row)):
                    weights = (k[: t + 1] @ q[t] / math.sqrt(net.shape.head_size)).softmax(0)
                    added[t] = added[t] + weights @ v[: t + 1] @ attn.W_O[head]
            x = x + torch.stack(added)
            hidden = (normalised(x, block.ln2) @ block.mlp.W_in + block.mlp.b_in).relu()
            x = x + hidden @ block.mlp.W_out + block.mlp.b_out
        logits.append(normalised(x, net.ln_final) @ net.unembed.W_U)
    return torch.stack(logits)


def test_it_computes_what_plain_loops_compute(tokens: Tensor) -> None:
    net = net_of()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    assert torch.allclose(net(tokens), by_hand(net, tokens), atol=1e-4)


@pytest.mark.parametrize("settings", VARIANTS)
def test_it_looks_back_only(settings: dict[str, Any], tokens: Tensor) -> None:
    net, other = net_of(**settings), tokens.clone()
    other[:, 4] = (other[:, 4] + 1) % 7
    before, after = net(tokens), net(other)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4], after[:, 4])


def test_rotated_products_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8).expand(2, 1, 9, 1, 8)
    products = torch.einsum("ephd,eshd->ps", rotated(q), rotated(k))
    for distance in range(9):
        diagonal = products.diagonal(-distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5)
    assert not torch.allclose(products[0], products[8])
    assert torch.allclose(rotated(q).norm(dim=-1), q.norm(dim=-1))


@pytest.mark.parametrize("settings", VARIANTS)
def test_the_layers_partition_the_weights(settings: dict[str, Any]) -> None:
    net = net_of(**settings)
    params = dict(net.named_parameters())
    counts = {name: torch.zeros_like(value, dtype=torch.int64) for name, value in params.items()}
    for layer in find_components(net, "layers"):
        for name, mask in layer.moved(params).items():
            counts[name] += mask
    assert all(bool((count == 1).all()) for count in counts.values())


def test_a_head_moves_its_own_slices_and_its_ablation_is_theirs(tokens: Tensor) -> None:
    net = net_of()
    head = find_components(net, "heads")[3]
    assert (head.address, head.kind, head.unit_axis) == ("blocks.1.attn.hook_z[1]", "head", -2)
    moved = {name: mask.any(-1) for name, mask in head.moved(dict(net.named_parameters())).items()}
    assert set(moved) == {f"blocks.1.attn.{kind}" for kind in ("W_Q", "W_K", "W_V", "b_Q", "b_K", "b_V", "W_O")}
    assert all(not mask[0].any() and bool(mask[1].all()) for mask in moved.values())
    _zeroing_the_unit_is_zeroing_its_outgoing_weights(net, head, "blocks.1.attn.W_O", tokens)


def test_a_neuron_moves_its_column_bias_and_row(tokens: Tensor) -> None:
    net = net_of()
    neurons = find_components(net, "neurons")
    assert len(neurons) == 24
    assert {name: int(mask.sum()) for name, mask in neurons[5].moved(dict(net.named_parameters())).items()} == {
        "blocks.0.mlp.W_in": 8,
        "blocks.0.mlp.b_in": 1,
        "blocks.0.mlp.W_out": 8,
    }
    _zeroing_the_unit_is_zeroing_its_outgoing_weights(net, neurons[5], "blocks.0.mlp.W_out", tokens)


def _zeroing_the_unit_is_zeroing_its_outgoing_weights(
    net: Transformer, part: Component, outgoing: str, tokens: Tensor
) -> None:
    edited = copy.deepcopy(net)
    with torch.no_grad():
        dict(edited.named_parameters())[outgoing].masked_fill_(part.moved(dict(net.named_parameters()))[outgoing], 0.0)
    hooked = net.run_with_hooks(
        tokens, fwd_hooks=[(part.point, lambda h, hook: torch.where(part.unit_mask(h[0]), 0.0, h))]
    )
    assert torch.allclose(hooked, edited(tokens), atol=1e-6)
    assert not torch.allclose(hooked, net(tokens), atol=1e-4)


@pytest.mark.parametrize("settings", VARIANTS)
def test_the_hook_points_show_what_is_computed(settings: dict[str, Any], tokens: Tensor) -> None:
    net = net_of(**settings)
    logits, cache = net.run_with_cache(tokens)
    assert torch.equal(logits, net(tokens))
    assert torch.equal(cache["unembed.hook_out"], logits)
    pattern, z = cache["blocks.0.attn.hook_pattern"], cache["blocks.0.attn.hook_z"]
    assert torch.allclose(pattern.sum(-1), torch.ones(5, 2, 6))
    assert torch.allclose(torch.einsum("ehqk,ekhd->eqhd", pattern, cache["blocks.0.attn.hook_v"]), z, atol=1e-6)
    added = torch.einsum("ephd,hdm->ephm", z, net.blocks[0].attn.W_O)
    assert torch.allclose(added.sum(2) + net.blocks[0].attn.b_O, cache["blocks.0.hook_attn_out"], atol=1e-6)
    assert ("blocks.0.attn.hook_result" in cache) == net.shape.head_results
    if net.shape.head_results:
        assert torch.allclose(cache["blocks.0.attn.hook_result"], added, atol=1e-6)
    assert torch.equal(cache["blocks.1.hook_resid_pre"], cache["blocks.0.hook_resid_post"])
    assert all(value.shape[0] == 5 for value in cache.values())
    assert set(net.hook_dict) == set(cache)


@pytest.mark.parametrize("settings", VARIANTS)
def test_functional_calls_of_stacked_weights_have_the_gradients_of_backward(
    settings: dict[str, Any], tokens: Tensor
) -> None:
    net = net_of(**settings)
    params = {name: value.detach().clone() for name, value in net.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(net, weights, (tokens,)).square().mean()

    stacked = {name: torch.stack((value, value * 0.5)) for name, value in params.items()}
    gradients = torch.func.vmap(torch.func.grad(loss))(stacked)
    net(tokens).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert torch.allclose(gradients[name][0], parameter.grad, atol=1e-5)
        assert torch.equal(parameter, params[name])


@pytest.mark.parametrize("settings", VARIANTS)
def test_a_gradient_of_its_gradient_agrees_with_differences(settings: dict[str, Any], tokens: Tensor) -> None:
    net = net_of(**settings).double()
    params = {name: value.detach().clone() for name, value in net.named_parameters()}
    stream = torch.Generator().manual_seed(1)
    along = {name: torch.randn(value.shape, generator=stream, dtype=torch.float64) for name, value in params.items()}

    def gradient(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return torch.func.grad(lambda w: torch.func.functional_call(net, w, (tokens,)).square().mean())(weights)

    def slope(weights: dict[str, Tensor]) -> Tensor:
        return sum((gradient(weights)[name] * along[name]).sum() for name in weights)

    product = torch.func.grad(slope)(params)
    step = 1e-6
    ahead, behind = (
        gradient({name: value + sign * step * along[name] for name, value in params.items()}) for sign in (1, -1)
    )
    for name, value in product.items():
        assert torch.allclose(value, (ahead[name] - behind[name]) / (2 * step), atol=1e-5)


@pytest.mark.parametrize("settings", VARIANTS)
def test_survives_pickle_deepcopy_and_its_state_is_its_parameters(settings: dict[str, Any], tokens: Tensor) -> None:
    net = net_of(**settings)
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):  # noqa: S301
        assert torch.equal(other(tokens), net(tokens))
    assert list(net.state_dict()) == [name for name, _ in net.named_parameters()]
    assert not list(net.named_buffers())
    other = Transformer(net.shape, seed=1)
    assert not torch.equal(other(tokens), net(tokens))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(tokens), net(tokens))


def test_weights_follow_from_the_seed_alone(tokens: Tensor) -> None:
    before = torch.get_rng_state()
    assert torch.equal(net_of()(tokens), net_of()(tokens))
    assert torch.equal(torch.get_rng_state(), before)
    wide = Transformer(TransformerShape(50, 6, n_layers=2, n_heads=4, d_model=64, d_mlp=256))
    assert wide.embed.W_E.std().item() == pytest.approx(0.1, rel=0.05)
    assert wide.blocks[1].mlp.W_out.std().item() == pytest.approx(0.05, rel=0.05)


def test_reads_vectors_in_place_of_tokens() -> None:
    net = net_of(d_input=3, d_vocab_out=1)
    assert net.embed.W_E.shape == (3, 8)
    assert net(torch.zeros(2, 6, 3, dtype=torch.int64)).shape == (2, 6, 1)


def test_refuses_longer_sequences() -> None:
    with pytest.raises(DataError, match="have 7 positions, but the net has 6; raise n_ctx"):
        net_of()(torch.zeros(1, 7, dtype=torch.int64))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"n_layers": 0}, "n_layers is 0; give an integer of at least 1"),
        ({"d_mlp": 0}, "d_mlp is 0; give an integer of at least 1"),
        ({"n_heads": 3}, "d_model is 8, which 3 heads cannot share; give a multiple of n_heads, or d_head"),
        ({"norm": "lyer"}, "unknown norm 'lyer'; did you mean 'layer'"),
        ({"act": "tanh"}, "unknown act 'tanh'. Use one of: gelu, gelu_new, relu, silu"),
        ({"positions": "rotary", "d_head": 3}, "a head has 3 coordinates; rotary positions need an even number"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        net_of(**settings)
