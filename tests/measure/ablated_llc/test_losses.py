"""Ablated models as losses have the effects of the sweep, and hold the component's weights."""

import pytest
import torch
from torch import Tensor

from llc_lightning import find_components, loss_fn
from llc_lightning.ablation.engine.base import resolve_methods
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.components.loss import snapshot_params
from llc_lightning.measure.ablated_llc.losses import ablated
from llc_lightning.runtime.errors import SettingError
from tests.ablation.padded import OwnMask, Padded, examples
from tests.measure.small import Net, snapshot

METHODS = ["zero", "mean", "mean(label=1)", "noise(draws=1)", "resample(draws=1)", "resample(draws=1,label=1)"]


class Labelled(Net):
    """Examples have labels and partners."""

    def labels(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"1": (batch[0][:, 0] > 0).long()}

    def counterfactual(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return batch[0].flip(0), batch[1]


def change(whole: object, address: str, method: str, params: dict[str, Tensor], data: object, mask: str = "") -> float:
    """Returns by how much the mean loss rises at the weights where the ablation is made."""
    (component,) = find_components(whole.module, address)  # pyright: ignore[reportAttributeAccessIssue]
    loss, rows = ablated(whole, params, data, component, resolve_methods(method)[0], seed=3, mask=mask)  # pyright: ignore
    return (loss(params, rows).double().mean() - whole(params, data).double().mean()).item()  # pyright: ignore


@pytest.mark.parametrize("method", [*METHODS, "counterfactual"])
@pytest.mark.parametrize("address", ["hook_one[1]", "hook_two", "hook_one[0,2]"])
def test_it_is_the_loss_of_the_sweep(address: str, method: str) -> None:
    at = snapshot(Labelled())
    wanted = sweep(at.loss, at.params, at.data, find_components(at.loss.module, address), [method], seed=3)[-1].value
    assert change(at.loss, address, method, at.params, at.data) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("method", ["zero", "mean"])
@pytest.mark.parametrize(("net", "mask"), [(OwnMask, ""), (Padded, "real")])
def test_what_does_not_count_is_not_replaced(method: str, net: type[Padded], mask: str) -> None:
    whole, data = loss_fn(net()), examples()
    params = snapshot_params(whole.module)
    found = find_components(whole.module, "hook_hidden[2]")
    wanted = sweep(whole, params, data, found, [method], seed=3, mask=mask)[-1].value
    assert change(whole, "hook_hidden[2]", method, params, data, mask) == pytest.approx(wanted, abs=1e-6)


def test_the_constant_that_is_taken_is_no_worse_than_those_of_the_folds() -> None:
    at = snapshot()
    found = find_components(at.loss.module, "hook_one[0,2]")
    crossed = sweep(at.loss, at.params, at.data, found, ["optimal"], seed=3)[-1]
    assert change(at.loss, "hook_one[0,2]", "optimal", at.params, at.data) <= crossed.value


@pytest.mark.parametrize("method", ["mean", "resample(draws=1)"])
def test_its_own_weights_are_held_and_the_others_move(method: str) -> None:
    at = snapshot()
    (component,) = find_components(at.loss.module, "hook_one[1]")
    loss, rows = ablated(at.loss, at.params, at.data, component, resolve_methods(method)[0], seed=3)
    masks = component.moved(at.params)
    moving = {name: value.clone().requires_grad_() for name, value in at.params.items()}
    loss(moving, rows).mean().backward()
    for name, value in moving.items():
        slope = torch.zeros_like(value) if value.grad is None else value.grad
        if name in masks:
            assert not slope[masks[name]].any()
    assert any(value.grad is not None and bool(value.grad.any()) for value in moving.values())


def test_donors_move_with_the_weights() -> None:
    """Resampling swaps two inputs of a linear map: the loss is known as a function of its weight."""

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
            self.read = torch.nn.Identity()

        def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            return (self.read(self.one(batch[0])) - batch[1])[:, 0].square()

    whole = loss_fn(Line())
    data = (torch.tensor([[1.0], [3.0]], dtype=torch.float64), torch.tensor([[2.0], [5.0]], dtype=torch.float64))
    (component,) = find_components(whole.module, "one[0]")
    params = {"one.weight": torch.tensor([[1.0]], dtype=torch.float64)}
    held, rows = ablated(whole, params, data, component, resolve_methods("resample(draws=1)")[0], seed=0)
    for w in (0.5, 2.0):
        losses = held.loss({"one.weight": torch.tensor([[w]], dtype=torch.float64)}, rows)
        assert losses.tolist() == [(3 * w - 2) ** 2, (w - 5) ** 2]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("weight_zero", r"'weight_zero' edits weights; .*"),
        ("counterfactual", r"the ablation method 'counterfactual' needs a partner .*"),
    ],
)
def test_what_is_no_such_loss_is_told(method: str, message: str) -> None:
    at = snapshot()
    with pytest.raises(SettingError, match=message):
        change(at.loss, "hook_one[1]", method, at.params, at.data)


def test_donors_of_single_positions_are_told() -> None:
    whole, data = loss_fn(OwnMask()), examples()
    with pytest.raises(SettingError, match=r"'resample.*' gives positions donors of their own, .*"):
        change(whole, "hook_hidden[2]", "resample(draws=1)", snapshot_params(whole.module), data)
