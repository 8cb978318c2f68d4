"""Graphs that are kept may change the time, and never a number."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from llc_lightning.components.loss import Edit, ModuleLoss, loss_fn, snapshot_params
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.batches import LossFn, Params
from llc_lightning.sampling import kept
from llc_lightning.sampling.kept import kept_graphs
from llc_lightning.sampling.stacked import Graphs

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A hidden layer; a setting, a buffer and a metric beside it."""

    def __init__(self, power: float = 2.0, shift: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)
        self.power, self.seen = power, MeanMetric()
        self.register_buffer("shift", torch.tensor(shift))

    def per_example_loss(self, x: Tensor) -> Tensor:
        return (self.second(self.first(x).relu()) - self.shift).abs().pow(self.power).sum(-1)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_kept", type(kept._kept)())


def graphs_of(loss: LossFn, params: Params) -> Graphs:
    return kept_graphs(loss, params, X)


def of(net: nn.Module) -> Graphs:
    return graphs_of(loss_fn(net), weights(net))


def weights(net: nn.Module) -> Params:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def estimate(net: Net, unit: int) -> LLCRecord:
    params = weights(net)
    moved = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in params.items() if name != "second.bias"}
    for name in ("first.weight", "first.bias"):
        moved[name][unit] = True
    moved["second.weight"][:, unit] = True
    return estimate_llc(
        loss_fn(net), params, X, n_beta=100.0, gamma=10.0, chains=2, draws=4, burn_in=2, batch_size=8, moved=moved
    )


def test_an_estimate_is_the_same_with_what_others_left() -> None:
    fresh = estimate(Net(seed=1), 2)
    kept._kept.clear()
    estimate(Net(power=4.0, seed=1), 2)
    estimate(Net(seed=7), 0)
    (graphs,) = [graphs for _, graphs, _ in list(kept._kept.values())[1:]]
    known = set(graphs)
    again = estimate(Net(seed=1), 2)
    assert set(graphs) == known  # nothing was traced anew
    assert repr(again.facts()) == repr(fresh.facts())
    assert torch.equal(again.excess, fresh.excess)


def test_snapshots_of_one_module_share_their_graphs() -> None:
    net = Net()
    first = of(net)
    with torch.no_grad():
        net.first.weight.add_(1)
    net.seen.update(3.0)
    net.train()
    assert of(net) is first
    assert of(Net(seed=3)) is first


@pytest.mark.parametrize(
    "other",
    [lambda: Net(power=4.0), lambda: Net(shift=1.0), lambda: Net().double(), lambda: nn.Sequential(Net())],
    ids=["setting", "buffer", "type", "structure"],
)
def test_what_a_graph_depends_on_keeps_losses_apart(other: Callable[[], nn.Module]) -> None:
    class Within(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def per_example_loss(self, x: Tensor) -> Tensor:
            return x.sum(-1)

    assert of(Within(Net())) is not of(Within(other()))


def test_edits_and_the_form_of_the_data_keep_losses_apart() -> None:
    loss = loss_fn(Net())
    params = snapshot_params(Net())
    edited = loss.with_edits([Edit("first", torch.ones(4, dtype=torch.bool), torch.zeros(4))])
    assert graphs_of(loss, params) is not graphs_of(edited, params)
    assert kept_graphs(loss, params, (X, X)) is not kept_graphs(loss, params, {"x": X, "y": X})


def test_a_buffer_that_is_given_is_an_argument() -> None:
    losses = [(loss_fn(net), snapshot_params(net)) for net in (Net(shift=0.0), Net(shift=1.0))]
    assert graphs_of(*losses[0]) is graphs_of(*losses[1])


def test_what_cannot_be_told_shares_none() -> None:
    def function(params: Params, batch: Tensor) -> Tensor:
        return batch.sum(-1)

    def hooked() -> ModuleLoss:
        net, scale = Net(), [2.0]
        net.first.register_forward_hook(lambda module, inputs, output: output * scale[0])
        return loss_fn(net)

    assert graphs_of(function, {}) is not graphs_of(function, {})
    loss = hooked()
    assert graphs_of(loss, {}) is not graphs_of(loss, {})


def test_the_oldest_are_forgotten() -> None:
    first = of(Net())
    for shift in range(kept._MOST):
        of(Net(power=3.0 + shift))
    assert of(Net()) is not first
    assert len(kept._kept) == kept._MOST


def test_graphs_with_older_values_of_a_buffer_go() -> None:
    """A batch norm counts with every step: what was traced with other counts would never be asked for again."""
    net = Net()
    first = of(net)
    for shift in (1.0, 2.0, 3.0):
        net.shift.fill_(shift)
        later = of(net)
        assert later is not first
        assert of(net) is later
    assert len(kept._kept) == 1
