"""Runs on some edges: all of them are the network, none the donor's run, and all but one have an exact effect."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.ablation.engine.influence import donors
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.constants import Constants
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.components.loss import Edit, loss_fn, snapshot_params
from llc_lightning.models.transformer import TransformerModel
from tests.circuits.literal import heard_and_said, parts, put
from tests.circuits.nets import NETS, OTHERS, SMALL, TASKS, N, net, question


@pytest.mark.parametrize("name", [name for name in NETS | OTHERS if name not in TASKS])
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


@pytest.mark.parametrize("donor", ["resample(draws=1)", "counterfactual"])
@pytest.mark.parametrize("name", NETS | OTHERS)
def test_all_edges_into_a_reader_together_give_it_the_donors_run(name: str, donor: str) -> None:
    asked, (model, (tokens, targets)) = question(name, donor), net(name)
    others = tokens[donors(N, seed=0, draw=0)] if donor.startswith("resample") else tokens.flip(0)
    runs, everything = MaskedRuns(Subject(asked)), torch.ones(1, dtype=torch.bool)
    readers = list(runs.numbers)[:: 3 if name in TASKS else 1]
    with torch.no_grad():
        found = runs(torch.stack([runs.mask([one for one in runs.edges if one.reader != name]) for name in readers]))
    own, other = (
        heard_and_said(asked.loss, asked.params, (one, targets), runs.subject.graph) for one in (tokens, others)
    )
    for losses, reader in zip(found, readers, strict=True):
        ((point, unit),) = parts(reader)
        edit = Edit(point, everything, put(own[point], unit, other[point]))
        expected = asked.loss.with_edits([edit])(asked.params, (tokens, targets))
        assert torch.allclose(losses, expected.detach(), atol=1e-5), reader
    assert model.training


def test_double_nets_are_run_in_double() -> None:
    model = TransformerModel(**SMALL, norm="layer", d_mlp=12).double()
    model.load_state_dict(net("layer")[0].state_dict())
    asked = replace(question("layer"), loss=loss_fn(model), params=snapshot_params(model))
    runs = MaskedRuns(Subject(asked))
    with torch.no_grad():
        (whole,) = runs(runs.mask(runs.edges)[None])
    assert whole.dtype == torch.float64
    assert torch.allclose(whole, model.per_example_loss(asked.data).detach(), atol=1e-12)


class Uneven(nn.Sequential):
    """Layers of different widths."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self(batch).square().sum(-1)


def test_layers_may_differ_in_width() -> None:
    model, batch = Uneven(), torch.randn(N, 3)
    graph = Graph.of(model)
    asked = Question.of(loss_fn(model), snapshot_params(model), batch, graph, "zero", seed=0)
    runs, lower = MaskedRuns(Subject(asked)), graph.select("* -> 0[?]")
    masks = [runs.mask(edges) for edges in (graph.edges, [], [*lower, *graph.select("2:input[3] -> *")])]
    with torch.no_grad():
        hidden = model[0](batch).tanh()
        kept = [hidden, torch.zeros(N, 5), hidden * (torch.arange(5) == 3)]
        expected = torch.stack([model[2](one).square().sum(-1) for one in kept])
        assert torch.allclose(runs(torch.stack(masks)), expected, atol=1e-6)
        means = Constants.means(runs.subject)
        assert torch.allclose(runs(torch.stack(masks[:1]), constants=means), expected[:1], atol=1e-6)
