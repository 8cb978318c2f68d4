"""A module gets the weights of a snapshot, all of them or none."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.components.loss import snapshot_params
from llc_lightning.measure.restore import restore
from llc_lightning.runtime.errors import SnapshotError
from tests.components.nets import MLP, Tied, Wrapped, regression


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
