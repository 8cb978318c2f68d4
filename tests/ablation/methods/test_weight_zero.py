"""Zeroed weights."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.runtime.errors import AddressError
from tests.ablation.nets import Circuits, circuits_data

BATCH = circuits_data(90)


def effect(component: str, method: str = "weight_zero") -> float:
    table = ablation_effects(Circuits(), BATCH, component, method)
    return float(table[table["loss"] == "train"]["value"].iloc[0])


@torch.no_grad()
@pytest.mark.parametrize("component", ["all", "hook_out"])
def test_a_net_without_its_last_layer_answers_0(component: str) -> None:
    torch.manual_seed(0)
    rise = (BATCH[1] ** 4).mean() - Circuits().per_example_loss(BATCH).mean()
    torch.manual_seed(0)
    assert effect(component) == pytest.approx(float(rise), abs=1e-6)


@torch.no_grad()
def test_a_layer_without_its_weights_says_nothing() -> None:
    torch.manual_seed(0)
    module = Circuits()
    rise = ((module.W_out.bias - BATCH[1]) ** 4).mean() - module.per_example_loss(BATCH).mean()
    torch.manual_seed(0)
    assert effect("hook_hidden") == pytest.approx(float(rise), abs=1e-6)


@pytest.mark.parametrize("component", ["hook_hidden[3]", "hook_hidden[0,2]", "hook_hidden[1]+hook_hidden[4]"])
def test_a_neuron_that_nobody_reads_is_zero(component: str) -> None:
    torch.manual_seed(0)
    edited = effect(component)
    torch.manual_seed(0)
    assert edited == pytest.approx(effect(component, "zero"), abs=1e-6)


class Pooled(nn.Module):
    """A pool has no weights; the last axis of a line's output has positions before it."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.pool = nn.Linear(6, 4), nn.AvgPool1d(2)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.pool(self.line(batch[:, None].expand(-1, 3, -1))).square().mean((1, 2))


@pytest.mark.parametrize(
    ("component", "message"),
    [
        ("pool", "'pool' has no weights of its own, so 'weight_zero' cannot edit them; address a Linear or Conv, or"),
        ("line@0", "'line@0' is a part of an activation that no weights of its own make, so 'weight_zero' cannot edit"),
    ],
)
def test_what_has_no_weights_of_its_own_is_refused(component: str, message: str) -> None:
    with pytest.raises(AddressError, match=f"^{message}"):
        ablation_effects(Pooled(), BATCH[0], component, ["zero", "weight_zero"])
