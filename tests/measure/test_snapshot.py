"""A snapshot is a copy: nothing of it changes with the live module."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.components.loss import snapshot_params
from llc_lightning.measure.snapshot import Snapshot, restore
from llc_lightning.runtime.errors import DataError, SettingError, SnapshotError
from tests.components.nets import MLP, Tied, Wrapped, regression
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
    place = {"run": "net/version_0", "seed": 3, "step": 7, "epoch": 1, "weights": "raw"}
    assert snapshot(step=7).columns(kind="x") == {**place, "kind": "x"}


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


def doubled(module: nn.Module) -> dict[str, Tensor]:
    return {name: value * 2 for name, value in snapshot_params(module).items()}


@pytest.mark.parametrize("module", [MLP(), Tied(), Wrapped()])
def test_parameters_and_buffers_come_back(module: nn.Module) -> None:
    wanted = doubled(module)
    identities = [id(tensor) for tensor in (*module.parameters(), *module.buffers())]
    restore(module, wanted)
    found = snapshot_params(module)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert [id(tensor) for tensor in (*module.parameters(), *module.buffers())] == identities
    wanted["surplus"] = torch.zeros(1)
    next(iter(wanted.values())).zero_()
    assert torch.equal(snapshot_params(module)[next(iter(found))], found[next(iter(found))])


def test_tied_weights_stay_tied() -> None:
    module = Tied()
    restore(module, doubled(module))
    assert module.read.weight is module.embed.weight


def test_a_module_in_another_precision_takes_over_that_of_the_snapshot() -> None:
    module = MLP()
    wanted = {name: value.double() for name, value in doubled(module).items()}
    restore(module, wanted)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}
    x, y = regression()
    assert module.per_example_loss((x.double(), y.double())).dtype == torch.float64


def without(tensors: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name not in names}


SHAPE = "first.weight has shape (5, 3), not (5, 4)"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: without(t, "first.bias"), "it lacks first.bias"),
        (lambda t: {}, "it lacks first.bias, first.weight, last.weight and 2 more"),
        (lambda t: t | {"scale": torch.ones(())}, "it has scale too many"),
        (lambda t: t | {"first.weight": torch.zeros(5, 3)}, SHAPE),
        (
            lambda t: without(t, "last.weight") | {"x": torch.ones(1), "first.weight": torch.zeros(5, 3)},
            f"it lacks last.weight; it has x too many; {SHAPE}",
        ),
    ],
)
def test_what_is_of_another_model_changes_nothing(change: object, told: str) -> None:
    module = MLP()
    before = snapshot_params(module)
    assert callable(change)
    with pytest.raises(SnapshotError) as raised:
        restore(module, change(doubled(module)), source="runs/step=3")
    assert str(raised.value) == f"runs/step=3 is not of this MLP: {told}; give the model that it was taken of."
    assert all(torch.equal(value, before[name]) for name, value in snapshot_params(module).items())
