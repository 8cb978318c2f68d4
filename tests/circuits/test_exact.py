"""Exact effects of edges against two literal forward passes with everything frozen."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.ablation.engine.blocks import fold_of
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.influence import donors
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.exact import edge_effects
from llc_lightning.circuits.graph import Graph, at_positions
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import AddressError, DataError, SettingError
from tests.circuits.literal import heard_and_said, losses, weight_losses
from tests.circuits.nets import NETS, OTHERS, SMALL, TASKS, N, net, partner


def measured(name: str, edges: str | list[str | Edge], donor: str, **options: object) -> dict[str, Effect]:
    """Returns the effects of edges by their texts."""
    model, batch = net(name)
    found = edge_effects(
        loss_fn(model),
        snapshot_params(model),
        batch,
        Graph.of(model),
        edges,
        donor,
        seed=0,
        per_example=True,
        **options,
    )
    return {one.component: one for one in found if one.quantity == "ablation_effect"}


DONORS = ("zero", "mean", "resample(draws=1)", "counterfactual")


@pytest.mark.parametrize("name", NETS | OTHERS)
def test_every_edge_has_the_effect_of_two_frozen_forward_passes(name: str) -> None:
    model, batch = net(name)
    loss, params, graph = loss_fn(model), snapshot_params(model), Graph.of(model)
    edges = graph.edges[:: 5 if name in TASKS else 1]
    effects = edge_effects(
        loss, params, batch, graph, edges, DONORS, seed=0, per_example=True, counterfactual=partner(batch)
    )
    clean, other = (heard_and_said(loss, params, one, graph) for one in (batch, partner(batch)))
    given = [
        {point: torch.zeros_like(one) for point, one in clean.items()},
        {point: one.mean(0, keepdim=True).expand_as(one) for point, one in clean.items()},
        {point: one[donors(N, seed=0, draw=0)] for point, one in clean.items()},
        other,
    ]
    plain, found = loss(params, batch).detach(), iter(effects[1:])
    for edge in edges:
        for donor, values in zip(DONORS, given, strict=True):
            effect = next(found)
            expected = (losses(loss, params, batch, edge, values, clean) - plain).detach()
            assert (effect.component, effect.method) == (str(edge), donor)
            assert torch.allclose(effect.per_example.float(), expected, atol=1e-5), (edge, donor)
            assert effect.value == pytest.approx(float(expected.mean()), abs=1e-5)


def test_an_edge_at_a_position_is_the_exchange_there_alone() -> None:
    model, batch = net("layer")
    loss, params = loss_fn(model), snapshot_params(model)
    edge = Edge.parse("net.blocks.0.attn.hook_z[1] -> net.blocks.1.attn.hook_v[0]")
    point, clean = "net.blocks.0.attn.hook_z", heard_and_said(loss, params, batch, Graph.of(model))
    found = measured("layer", list(at_positions([edge], [0, 3])), "zero")
    for position, effect in zip((0, 3), found.values(), strict=True):
        given = clean[point].clone()
        given[:, position] = 0
        expected = losses(loss, params, batch, edge, {point: given}, clean) - loss(params, batch)
        assert torch.allclose(effect.per_example.float(), expected.detach(), atol=1e-5)


def test_joined_embeddings_are_exchanged_together() -> None:
    model, batch = net("layer")
    loss, params = loss_fn(model), snapshot_params(model)
    graph = Graph.of(model, joined=True)
    edge = graph.select("net.hook_embed+net.hook_pos_embed -> net.blocks.1.attn.hook_q[1]")
    (_, effect) = edge_effects(loss, params, batch, graph, edge, "zero", seed=0, per_example=True)
    zeros = dict.fromkeys(("net.hook_embed", "net.hook_pos_embed"), torch.zeros(N, 5, 8))
    clean = heard_and_said(loss, params, batch, graph)
    expected = losses(loss, params, batch, edge[0], zeros, clean) - loss(params, batch)
    assert torch.allclose(effect.per_example.float(), expected.detach(), atol=1e-5)


def test_neurons_are_senders_and_readers_where_asked() -> None:
    model, batch = net("layer")
    loss, params = loss_fn(model), snapshot_params(model)
    graph = Graph.of(model, neurons=True)
    texts = ["net.blocks.0.mlp.hook_post[3] -> net.blocks.1.mlp.hook_pre[5]"]
    (_, effect) = edge_effects(loss, params, batch, graph, texts, "zero", seed=0, per_example=True)
    stream, read = "net.blocks.1.hook_resid_mid", "net.blocks.1.mlp.hook_pre"
    known = loss.activations(params, batch, [stream, read, "net.blocks.0.mlp.hook_post"])
    block, writes = model.net.blocks[1], model.net.blocks[0].mlp.W_out[3]
    heard = known[stream] - known["net.blocks.0.mlp.hook_post"][..., 3:4] * writes
    changed = known[read].clone()
    changed[..., 5] = (block.ln2(heard) @ block.mlp.W_in + block.mlp.b_in)[..., 5]
    expected = loss.with_edits([Put(read, changed)])(params, batch) - loss(params, batch)
    assert torch.allclose(effect.per_example.float(), expected.detach(), atol=1e-5)


def test_weights_of_an_mlp_are_edges() -> None:
    model, batch = CISModel(size=3, width=4, seed=0), CISData(size=3).analysis_set(N)
    graph, loss, params = Graph.of(model), loss_fn(model), snapshot_params(model)
    edges = [str(edge) for edge in graph.edges]
    found = edge_effects(loss, params, batch, graph, edges, "mean", seed=0, per_example=True)
    points = ["net.W_in:input", "net.W_out:input"]
    means = {one: value.mean(0, keepdim=True) for one, value in loss.activations(params, batch, points).items()}
    plain = model.per_example_loss(batch)
    assert len(found) == 1 + len(edges)
    for effect in found[1:]:
        edge = Edge.parse(effect.component)
        expected = weight_losses(model, batch, edge, means[edge.sender.split("[")[0]].expand(N, -1)) - plain
        assert torch.allclose(effect.per_example.float(), expected.detach(), atol=1e-5), effect.component


def test_the_best_constants_have_the_effects_of_frozen_forward_passes() -> None:
    model, batch = net("layer")
    loss, params = loss_fn(model), snapshot_params(model)
    plain, points = loss(params, batch).detach(), ["net.blocks.0.attn.hook_z", "net.hook_embed"]
    edges = ["net.blocks.0.attn.hook_z[1] -> *hook_k[1]", "net.hook_embed -> net.blocks.1.hook_resid_post"]
    found, folds = measured("layer", edges, "optimal(steps=20)"), fold_of(N, seed=0)
    clean = heard_and_said(loss, params, batch, Graph.of(model))
    assert len(found) == 2
    for (text, effect), point in zip(found.items(), points, strict=True):
        constants = effect.constants[0][folds]
        given = {point: constants if point == points[1] else constants.expand(-1, -1, 2, -1)}
        expected = (losses(loss, params, batch, Edge.parse(text), given, clean) - plain).detach()
        assert torch.allclose(effect.per_example.float(), expected, atol=1e-5)
        assert effect.details["gain"] >= 0


@pytest.mark.parametrize("name", ["hand_built", "induction_strict"])
def test_edges_that_a_donor_cannot_move_are_unreachable(name: str) -> None:
    edges = "net.hook_pos_embed -> *"
    for donor, told in (("resample(draws=1)", True), ("mean", True), ("zero", False)):
        statuses = {effect.status for effect in measured(name, edges, donor).values()}
        assert all("unreachable" in status for status in statuses) == told
        assert any("unreachable" in status for status in statuses) == told


def test_edges_that_say_nothing_of_any_account_can_be_reached() -> None:
    idle = measured("hand_built", "net.blocks.0.attn.hook_z[2] -> *", "resample(draws=1)").values()
    assert {effect.value for effect in idle} == {0.0}
    assert not any("unreachable" in effect.status for effect in idle)


def test_one_edge_in_each_pass_has_the_effect_that_it_has_beside_others() -> None:
    edges = "*hook_z[1] -> *hook_k[?]"
    found, alone = measured("layer", edges, "zero"), measured("layer", edges, "zero", chunk=1)
    assert {edge: one.value for edge, one in found.items()} == pytest.approx(
        {edge: one.value for edge, one in alone.items()}, abs=1e-6
    )


def held(model: nn.Module) -> dict[str, Tensor]:
    """Returns all weights and buffers: a bridge leaves some out of its ``state_dict``."""
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))


@pytest.mark.parametrize("name", ["layer", "bridge"])
def test_the_module_comes_back_as_it_was(name: str) -> None:
    model, _ = net(name)
    before = {name: tensor.clone() for name, tensor in held(model).items()}
    hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())
    measured(name, "net.hook_embed -> *", "resample(draws=1)")
    after = held(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    assert all(part.training for part in model.modules())
    assert sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()) == hooks


class Put:
    """Puts an activation in."""

    def __init__(self, point: str, value: Tensor) -> None:
        self.point, self.value = point, value

    def __call__(self, activation: Tensor) -> Tensor:
        return self.value


class Leaky(TransformerModel):
    """Adds to the residual stream what no known part writes."""

    def forward(self, inputs: Tensor) -> Tensor:
        handle = self.net.blocks[1].hook_resid_pre.register_forward_hook(lambda _, __, out: out * 1.5)
        try:
            return super().forward(inputs)
        finally:
            handle.remove()


def test_sums_with_unknown_parts_are_refused() -> None:
    model, (_, batch) = Leaky(**SMALL), net("layer")
    with pytest.raises(AddressError, match=r"write to 'net\.blocks\.1\.hook_resid_\w+' does not add up to it: [\d.]+%"):
        edge_effects(loss_fn(model), snapshot_params(model), batch, Graph.of(model), "*", "zero", seed=0)


def test_of_one_example_sums_are_compared_at_its_positions() -> None:
    batch = tuple(part[:1] for part in net("layer")[1])
    for model, message in ((Leaky(**SMALL), "does not add up"), (TransformerModel(**SMALL), "give at least two")):
        given = tuple(part[:, :1] for part in batch) if message.startswith("give") else batch
        with pytest.raises(AddressError, match=message):
            edge_effects(loss_fn(model), snapshot_params(model), given, Graph.of(model), "*", "zero", seed=0)


@pytest.mark.parametrize(
    ("edges", "donor", "error", "message"),
    [
        ("net.blocks.0.attn.hook_z[9] -> net.blocks.1.attn.hook_k[0]", "zero", AddressError, "unknown sender"),
        ("net.hook_embed -> net.blocks.1.attn.hook_x[0]", "zero", AddressError, "did you mean"),
        ("net.blocks.1.attn.hook_z[0] -> net.blocks.0.attn.hook_k[0]", "zero", AddressError, "does not lie behind"),
        ("net.blocks.0", "zero", AddressError, "cannot read the edge"),
        ("net.nothing* -> *", "zero", AddressError, "matches no edge"),
        ("*", "counterfactual", SettingError, "needs a partner of each example"),
        ("*", "weight_zero", SettingError, "is no donor of an edge"),
    ],
)
def test_what_is_no_edge_or_donor_is_told_in_a_sentence(edges: str, donor: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        measured("layer", edges, donor)


def test_no_examples_and_no_family_are_told_in_a_sentence() -> None:
    model, batch = net("layer")
    with pytest.raises(DataError, match="example"):
        edge_effects(
            loss_fn(model), snapshot_params(model), (batch[0][:0], batch[1][:0]), Graph.of(model), "*", "zero", seed=0
        )
    with pytest.raises(AddressError, match="Bilinear has no sums whose parts are known"):
        Graph.of(torch.nn.Bilinear(1, 1, 1))
