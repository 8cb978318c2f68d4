"""The CIS net: what it computes, its hook points and components, and that torch can do everything with it."""

import copy
import pickle

import pytest
import torch
from torch.func import functional_call, grad, vmap

from llc_lightning.components.listing import find_components
from llc_lightning.models.cis_net import CISNet, power_of


@pytest.fixture
def net() -> CISNet:
    return CISNet(6, 4, 3, seed=1)


X = torch.tensor([[1, 0, -1, 0, 1, 1], [0, 0, 0, 1, -1, 0]], dtype=torch.int8)


def by_hand(net: CISNet, x: torch.Tensor) -> torch.Tensor:
    hidden = (x @ net.W_in.weight.T + net.W_in.bias).relu()
    return hidden @ net.W_out.weight.T + net.W_out.bias


def test_computes_one_hidden_layer_of_relus_and_casts_its_input(net: CISNet) -> None:
    assert torch.allclose(net(X), by_hand(net, X.float()), atol=1e-6)
    assert net.width == 4


def test_the_skip_is_added_and_starts_at_zero(net: CISNet) -> None:
    skipping = CISNet(6, 4, 3, seed=1, skip=True)
    assert torch.equal(skipping(X), net(X))
    with torch.no_grad():
        skipping.W_skip[2, 5] = 10.0
    assert torch.allclose(skipping(X) - net(X), torch.tensor([[0.0, 0.0, 10.0], [0.0, 0.0, 0.0]]), atol=1e-6)


def test_weights_are_drawn_like_those_of_a_linear_layer_but_from_the_seed() -> None:
    before = torch.get_rng_state()
    one, again, other = CISNet(64, 500, 32, seed=0), CISNet(64, 500, 32, seed=0), CISNet(64, 500, 32, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    like = torch.nn.Linear(64, 500)
    assert one.W_in.weight.abs().max() <= 1 / 8
    assert one.W_in.weight.std().item() == pytest.approx(like.weight.std().item(), rel=0.02)
    assert one.W_in.bias.std().item() == pytest.approx(like.bias.std().item(), rel=0.1)


def test_embedded_inputs_are_read_through_fixed_random_unit_columns() -> None:
    net = CISNet(6, 4, 3, seed=1, embedding=5)
    assert net.n_inputs == 6
    assert set(dict(net.named_buffers())) == {"W_E"}
    assert torch.allclose(net.W_E.norm(dim=0), torch.ones(6))
    assert torch.allclose(net(X), by_hand(net, X.float() @ net.W_E.T), atol=1e-6)
    outputs, cache = net.run_with_cache(X)
    assert torch.allclose(cache["hook_embed"], X.float() @ net.W_E.T)
    assert torch.equal(outputs, net(X))
    assert not torch.equal(net.W_E, CISNet(6, 4, 3, seed=2, embedding=5).W_E)
    assert torch.equal(net.W_E, CISNet(6, 9, 3, seed=1, embedding=5).W_E)
    assert net.W_in.weight.abs().max() <= 5**-0.5
    assert [layer.address for layer in find_components(net, "layers")] == ["hook_hidden", "hook_out"]


def test_transformer_lens_reads_and_edits_its_hook_points(net: CISNet) -> None:
    outputs, cache = net.run_with_cache(X)
    assert set(cache) == {"hook_hidden", "hook_out"}
    assert torch.equal(cache["hook_out"], outputs)
    assert (cache["hook_hidden"] >= 0).all()
    assert (cache["hook_hidden"] == 0).any()
    silent = net.run_with_hooks(X, fwd_hooks=[("hook_hidden", lambda hidden, hook: hidden * 0)])
    assert torch.equal(silent, net.W_out.bias.expand(2, 3))


@pytest.mark.parametrize("skip", [False, True])
def test_a_neuron_is_its_row_its_bias_and_its_column(skip: bool) -> None:
    net = CISNet(6, 4, 3, skip=skip)
    neurons = find_components(net, "neurons")
    assert [neuron.address for neuron in neurons] == [f"hook_hidden[{j}]" for j in range(4)]
    masks = neurons[2].moved(dict(net.named_parameters()))
    assert {name: mask.nonzero().tolist() for name, mask in masks.items()} == {
        "W_in.weight": [[2, i] for i in range(6)],
        "W_in.bias": [[2]],
        "W_out.weight": [[t, 2] for t in range(3)],
    }


def test_layers_are_both_hook_points_and_own_what_makes_them(net: CISNet) -> None:
    hidden, out = find_components(net, "layers")
    owned = [{part.parameter for part in layer.weights} for layer in (hidden, out)]
    assert [hidden.address, out.address] == ["hook_hidden", "hook_out"]
    assert owned == [{"W_in.weight", "W_in.bias"}, {"W_out.weight", "W_out.bias"}]
    (unit,) = find_components(net, "hook_out[1]")
    assert unit.kind == "output"
    skipping = find_components(CISNet(6, 4, 3, skip=True), "hook_out")[0]
    assert {part.parameter for part in skipping.weights} == owned[1] | {"W_skip"}


@pytest.mark.parametrize("embedding", [None, 5])
def test_survives_pickle_and_deepcopy(embedding: int | None) -> None:
    net = CISNet(6, 4, 3, seed=1, embedding=embedding)
    points = set(net.run_with_cache(X)[1])
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):  # noqa: S301
        assert torch.equal(other(X), net(X))
        with torch.no_grad():
            other.W_in.weight.zero_()
        assert not torch.equal(other(X), net(X))
        assert set(other.run_with_cache(X)[1]) == points


@pytest.mark.parametrize("embedding", [None, 5])
def test_functional_call_vmap_and_grad_agree_with_one_at_a_time(embedding: int | None) -> None:
    net = CISNet(6, 4, 3, embedding=embedding)

    def loss(params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(net, params, (x,)).square().sum()

    nets = [CISNet(6, 4, 3, seed=seed, embedding=embedding) for seed in range(3)]
    for other in nets:
        other.W_E = net.W_E
    params = [dict(other.named_parameters()) for other in nets]
    stacked = {name: torch.stack([one[name].detach() for one in params]) for name in params[0]}
    together = vmap(grad(loss), in_dims=(0, None))(stacked, X)
    for i, other in enumerate(nets):
        other(X).square().sum().backward()
        for name, parameter in other.named_parameters():
            assert torch.allclose(together[name][i], parameter.grad, atol=1e-5)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
def test_every_power_is_that_of_the_absolute_error(power: float) -> None:
    error = torch.linspace(-2, 2, 41, dtype=torch.float64)
    assert torch.allclose(power_of(error, power), error.abs() ** power)


@pytest.mark.parametrize("power", [1.5, 2.0, 3.0, 4.0])
def test_the_gradient_is_finite_and_zero_without_an_error(power: float) -> None:
    error = torch.tensor([0.0, -2.0], requires_grad=True)
    power_of(error, power).sum().backward()
    assert error.grad.tolist() == pytest.approx([0.0, -power * 2 ** (power - 1)])
