"""Runs on some edges: all of them are the network, none the donor's run, and all but one have an exact effect."""

from dataclasses import replace

import pytest
import torch

from llc_lightning.ablation.engine.influence import donors
from llc_lightning.circuits.base import edge_scores
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.models.transformer import TransformerModel
from tests.circuits.nets import NETS, SMALL, N, net, question


@pytest.mark.parametrize("name", [name for name in NETS if name != "hand_built"])
def test_masks_go_from_the_donors_run_to_the_networks(name: str) -> None:
    asked, (model, (tokens, targets)) = question(name), net(name)
    runs = MaskedRuns(Subject(asked))
    without_one = 1 - torch.eye(len(runs.edges))
    with torch.no_grad():
        found = runs(torch.cat([runs.mask(runs.edges)[None], runs.mask([])[None], without_one]))
        other = model.per_example_loss((tokens[donors(N, seed=0, draw=0)], targets))
        assert torch.allclose(found[0], model.per_example_loss((tokens, targets)), atol=1e-5)
        assert torch.allclose(found[1], other, atol=1e-5)
    exact = [one.value for one in edge_scores(asked, "exact")]
    assert (found[2:] - found[0]).mean(1).tolist() == pytest.approx(exact, abs=1e-5)


def test_all_edges_into_a_reader_together_give_it_the_donors_run() -> None:
    asked, (model, (tokens, targets)) = question("layer", "counterfactual"), net("layer")
    runs, reader = MaskedRuns(Subject(asked)), "net.blocks.1.attn.hook_q[1]"
    kept = [edge for edge in runs.edges if edge.reader != reader]
    with torch.no_grad():
        (found,) = runs(runs.mask(kept)[None])
    point = "net.blocks.1.attn.hook_q"
    own, other = (
        asked.loss.activations(asked.params, (one, targets), [point])[point] for one in (tokens, tokens.flip(0))
    )
    own[:, :, 1] = other[:, :, 1]
    expected = asked.loss.with_edits([Put(point, own)])(asked.params, (tokens, targets))
    assert torch.allclose(found, expected.detach(), atol=1e-5)
    assert model.training


class Put:
    """Puts an activation in."""

    def __init__(self, point: str, value: torch.Tensor) -> None:
        self.point, self.value = point, value

    def __call__(self, activation: torch.Tensor) -> torch.Tensor:
        return self.value


def test_double_nets_are_run_in_double() -> None:
    model = TransformerModel(**SMALL, norm="layer", d_mlp=12).double()
    model.load_state_dict(net("layer")[0].state_dict())
    asked = replace(question("layer"), loss=loss_fn(model), params=snapshot_params(model))
    runs = MaskedRuns(Subject(asked))
    with torch.no_grad():
        (whole,) = runs(runs.mask(runs.edges)[None])
    assert whole.dtype == torch.float64
    assert torch.allclose(whole, model.per_example_loss(asked.data).detach(), atol=1e-12)
