"""A snapshot is a copy: nothing of it changes with the live module."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.errors import DataError, SettingError
from tests.components.nets import MLP, Tied, regression
from tests.measure.small import Net, snapshot


def test_the_live_module_may_change_afterwards() -> None:
    net = Net()
    taken = snapshot(net)
    expected = net.per_example_loss(taken.data).detach()
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            tensor.add_(1.0)
    assert torch.equal(taken.loss(taken.params, taken.data), expected)
    assert not any(value.requires_grad for value in taken.params.values())


def test_tied_weights_come_once_and_buffers_stay_in_the_loss() -> None:
    taken = Snapshot.of(Tied(), torch.randint(0, 7, (3, 5)), run="r", seed=0, step=0, epoch=0)
    assert list(taken.params) == ["embed.weight", "mix.weight", "mix.bias"]
    assert "shift" not in snapshot().params


def test_columns() -> None:
    assert snapshot(step=7).columns(kind="x") == {"run": "net/version_0", "seed": 3, "step": 7, "epoch": 1, "kind": "x"}


def test_the_trivial_loss_is_known_where_the_module_tells_it() -> None:
    assert snapshot().trivial_loss == 2.0
    assert snapshot(MLP()).trivial_loss is None


def test_what_cannot_be_measured_is_refused() -> None:
    place = {"run": "r", "seed": 0, "step": 0, "epoch": 0}
    with pytest.raises(SettingError, match=r"Linear has no per_example_loss\(batch\)"):
        Snapshot.of(nn.Linear(1, 1), regression(), **place)
    with pytest.raises(DataError, match="disagree on the number of examples"):
        Snapshot.of(MLP(), (torch.zeros(3, 4), torch.zeros(2, 2)), **place)


def test_a_module_without_parameters_keeps_the_data_where_they_are() -> None:
    class Constant(nn.Module):
        def per_example_loss(self, batch: Tensor) -> Tensor:
            return batch

    data = torch.zeros(3)
    assert Snapshot.of(Constant(), data, run="r", seed=0, step=0, epoch=0).data is data
