"""One contract for every way to score edges, whoever registers it."""

import warnings
from dataclasses import replace

import pytest
import torch

from llc_lightning.ablation.engine.influence import donors
from llc_lightning.circuits.base import SCORES, Question, edge_scores, facts_of
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.gradients import Subject
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import SettingError
from tests.circuits.literal import heard_and_said, losses
from tests.circuits.nets import SMALL, N, net, question

EDGES = ["net.blocks.0.attn.hook_z[1] -> net.blocks.1.attn.hook_k[0]", "net.hook_embed -> *"]


@pytest.mark.parametrize("score", SCORES.names())
def test_scores_are_one_tidy_value_of_each_edge(score: str) -> None:
    asked, (model, _) = question("layer"), net("layer")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found, selected = edge_scores(asked, score, EDGES), asked.graph.select(EDGES)
    assert [Edge.parse(one.component) for one in found] == selected
    assert {one.kind for one in found} == {"edge"}
    assert {one.loss for one in found} == {"train"}
    assert all(one.status and one.method for one in found)
    assert all(abs(one.value) < float("inf") for one in found)
    again = edge_scores(asked, score, EDGES[0])
    assert [one.value for one in again] == pytest.approx([found[0].value], abs=1e-6)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(len(vars(part)[table]) == 0 for part in model.modules() for table in ("_forward_hooks",))
    assert SCORES.get(score).item().name == score


@pytest.mark.parametrize("score", SCORES.names())
def test_a_metric_that_is_flat_at_the_unablated_run_is_refused_or_used(score: str) -> None:
    asked = question("layer", metric="kl")
    if not SCORES.get(score).facts.at_clean:
        assert {one.loss for one in edge_scores(asked, score, EDGES[0])} <= {"metric:kl", "train"}
        return
    with pytest.raises(SettingError, match="'kl' has its minimum at the unablated run, so that its gradient and all"):
        edge_scores(asked, score)


def test_gradients_refuse_donors_without_given_values() -> None:
    with pytest.raises(SettingError, match="gradients tell what given values do, and 'optimal' fits them"):
        edge_scores(question("layer", "optimal"), "eap")


def test_gradients_refuse_donors_that_mix_units() -> None:
    with pytest.raises(SettingError, match=r"gradients tell what given values do, and 'project.*' fits them, edits"):
        edge_scores(question("layer", "project"), "eap")


@pytest.mark.parametrize("score", [name for name in SCORES.names() if name != "exact"])
def test_an_edge_at_a_position_is_told_where_it_has_no_score(score: str) -> None:
    at = Edge.parse("net.blocks.0.attn.hook_z[1]@2 -> net.blocks.1.attn.hook_k[0]")
    with pytest.raises(SettingError, match=r"is at some positions alone, and '.*' scores an edge at all of them"):
        edge_scores(question("layer"), score, at)


def test_relp_sees_edges_into_an_mlp() -> None:
    found = edge_scores(question("layer"), "relp", "* -> net.blocks.1.mlp.hook_pre")
    assert [bool(one.value) for one in found] == ["pos_embed" not in one.component for one in found]  # which stay


def test_what_no_layer_takes_away_is_a_mean_over_layers() -> None:
    """A drop leaves edges into the output as they are, so that their size is that of the first-order effect."""
    asked, edge = question("no_norm"), "net.blocks.1.hook_mlp_out -> *"
    (dropped,) = edge_scores(asked, "atp_star(qk_fix=false)", edge)
    (plain,) = edge_scores(asked, "atp_star(qk_fix=false,graddrop=false)", edge)
    assert dropped.value == pytest.approx(plain.value, rel=1e-5)


def test_too_few_steps_and_too_few_examples_are_told() -> None:
    found = edge_scores(question("layer", "zero"), "eap_ig_activations(steps=1)")
    assert all("too-few-steps" in one.status.split("+") for one in found)
    exact = edge_scores(question("layer"), "exact")
    assert any("too-few-examples" in one.status.split("+") for one in exact)
    assert any("too-few-examples" in one.status.split("+") for one in edge_scores(question("layer"), "eap"))


@pytest.mark.parametrize("n", [1, 2, 300])
def test_any_number_of_examples_has_the_mean_of_its_own(n: int) -> None:
    asked = question("layer", "zero")
    rows = torch.arange(n) % N
    some = replace(asked, data=tuple(one[rows] for one in asked.data), counterfactual=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of copies
        found = edge_scores(some, "eap", EDGES[0])[0]
    own = [
        replace(asked, data=tuple(one[k : k + 1] for one in asked.data), counterfactual=None) for k in range(min(n, N))
    ]
    each = torch.tensor([edge_scores(one, "eap", EDGES[0])[0].value for one in own])
    assert found.value == pytest.approx(float(each[rows].mean()), abs=1e-6)


def test_eap_is_the_slope_of_the_exact_effect() -> None:
    model = TransformerModel(**SMALL, norm="layer", d_mlp=12).double()
    model.load_state_dict(net("layer")[0].state_dict())
    asked = replace(question("layer"), loss=loss_fn(model), params=snapshot_params(model))
    for edge in asked.graph.select(EDGES)[:4]:
        (found,) = edge_scores(asked, "eap", edge)
        slope = (along(asked, edge, 1e-4) - along(asked, edge, -1e-4)) / 2e-4
        assert found.value == pytest.approx(slope, abs=1e-7)


def along(asked: Question, edge: Edge, share: float) -> float:
    """Returns the mean loss when a reader hears a share of the way to the donor."""
    own = heard_and_said(asked.loss, asked.params, asked.data, asked.graph)
    order = donors(N, seed=0, draw=0)
    given = {point: values + share * (values[order] - values) for point, values in own.items()}
    return float(losses(asked.loss, asked.params, asked.data, edge, given, own).double().mean().detach())


def test_integrated_gradients_are_complete_and_say_when_they_are_not() -> None:
    asked = question("no_norm")
    found = edge_scores(asked, "eap_ig(steps=20)")
    leaving = sum(one.value for one in found if "hook_embed" in one.component or "hook_pos_embed" in one.component)
    model, (tokens, targets) = net("no_norm")
    order = donors(N, seed=0, draw=0)
    with torch.no_grad():
        moved = model.per_example_loss((tokens[order], targets)) - model.per_example_loss((tokens, targets))
    total = float(moved.mean())
    assert leaving == pytest.approx(total, rel=1e-3)
    assert {one.status.split("+")[0] for one in found} <= {"ok", "too-few-examples"}
    # On the saturated net the gradient at the unablated run knows nothing, and one step not enough.
    hand = question("hand_built")
    assert all("incomplete" in one.status for one in edge_scores(hand, "eap"))
    assert not any("incomplete" in one.status for one in edge_scores(hand, "eap_ig"))


def test_steps_that_are_too_few_are_told() -> None:
    asked = question("layer", "zero")
    finer, coarse = (edge_scores(asked, f"eap_ig(steps={steps},check=false)") for steps in (2, 1))
    changed = sum(abs(a.value - b.value) for a, b in zip(finer, coarse, strict=True))
    assert changed > 0.1 * sum(abs(one.value) for one in finer)
    assert all("too-few-steps" in one.status for one in edge_scores(asked, "eap_ig(steps=1)"))
    assert not any("too-few-steps" in one.status for one in edge_scores(asked, "eap_ig(steps=40)"))


def test_what_stands_for_an_effect_is_told_by_its_facts() -> None:
    estimating = {name for name, entry in SCORES.items() if entry.facts.estimates}
    assert estimating == {"exact", "eap", "eap_ig", "clean_corrupted", "relp"}
    assert all(not facts_of(SCORES.get(name).item()).estimates for name in ("random", "hisp", "weight_norm"))


def test_atp_star_sees_through_saturated_attention() -> None:
    """Of an edge into a key the pattern is computed anew; with a linear rest that is the exact effect."""
    asked = question("hand_built")
    key = "net.blocks.0.attn.hook_z[1] -> net.blocks.1.attn.hook_k[2]"
    (eap,), (fixed,) = (edge_scores(asked, name, key) for name in ("eap", "atp_star(graddrop=false)"))
    assert fixed.value > 3 * abs(eap.value)


def test_relevance_treats_norms_as_constants() -> None:
    # Without a norm and with linear parts alone relevance is the gradient.
    plain = question("no_norm")
    eap, relp = (edge_scores(plain, name, "net.blocks.1.attn.hook_z[*] -> *resid_post") for name in ("eap", "relp"))
    assert [one.value for one in eap] == pytest.approx([one.value for one in relp], abs=1e-7)
    scaled = question("layer")
    eap, relp = (edge_scores(scaled, name, EDGES[0])[0].value for name in ("eap", "relp"))
    assert eap != pytest.approx(relp, abs=1e-6)
    patterns = edge_scores(scaled, "relp(attention=true)", "* -> *hook_q[*]")
    assert {one.value for one in patterns} == {0.0}


@pytest.mark.parametrize("name", ["hand_built", "layer"])
def test_attributions_are_products_with_slopes_whatever_side_passes_the_norm(name: str) -> None:
    subject = Subject(question(name))
    way = subject.towards(0, 0, 0.3, subject.input_points)
    expected = subject.products(0, 0, subject.slopes(0, way))
    assert torch.allclose(subject.attributions(0, 0, way), expected, atol=1e-5)
    both = subject.attributions(0, 0, subject.towards(0, 0, [0.3, 0.3], subject.input_points), copies=2)
    assert torch.allclose(both, expected, atol=1e-5)
