"""Which units the modules of torch have, and what makes one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.units import Rows, own_parameters, stored, units_of
from llc_lightning.runtime.errors import AddressError


@pytest.mark.parametrize(
    ("module", "shape", "width", "axis"),
    [
        (nn.BatchNorm1d(3), (5, 3), 3, -1),
        (nn.BatchNorm1d(3), (5, 3, 4), 3, -2),
        (nn.BatchNorm2d(3), (5, 3, 4, 4), 3, -3),
        (nn.BatchNorm3d(3), (5, 3, 2, 2, 2), 3, -4),
        (nn.GroupNorm(2, 4), (5, 4, 6), 4, -2),
        (nn.GroupNorm(2, 4), (5, 4, 2, 2), 4, -3),
        (nn.InstanceNorm1d(3), (5, 3, 4), 3, -2),
        (nn.InstanceNorm2d(3), (5, 3, 4, 4), 3, -3),
        (nn.InstanceNorm3d(3), (5, 3, 2, 2, 2), 3, -4),
        (nn.ConvTranspose1d(2, 3, 2), (5, 2, 4), 3, -2),
        (nn.ConvTranspose2d(2, 3, 2, groups=1), (5, 2, 4, 4), 3, -3),
        (nn.ConvTranspose3d(2, 4, 2, groups=2), (5, 2, 4, 4, 4), 4, -4),
        (nn.LayerNorm(3), (5, 4, 3), 3, -1),
        (nn.RMSNorm(3), (5, 4, 3), 3, -1),
        (nn.Linear(4, 3), (5, 2, 4), 3, -1),
    ],
)
def test_units_lie_on_the_axis_of_their_number(module: Any, shape: tuple[int, ...], width: int, axis: int) -> None:
    output = module(torch.randn(shape))
    (unit,) = find_components(nn.Sequential(module, nn.Linear(1, 1)), "0[1]")
    assert unit.axis_in(output[0]) == axis
    assert output.shape[axis] == width
    assert int(unit.unit_mask(output[0]).expand(output.shape[1:]).sum()) == output[0].numel() // width
    with pytest.raises(AddressError, match=f"names unit {width}, but '0' has {width} units"):
        find_components(nn.Sequential(module, nn.Linear(1, 1)), f"0[{width}]")


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    "module",
    [
        nn.GRU(2, 3, batch_first=True),
        nn.LSTM(2, 3, num_layers=2, batch_first=True),
        nn.LSTM(2, 4, proj_size=3, batch_first=True),
        nn.RNN(2, 3, bias=False, batch_first=True),
        nn.ConvTranspose1d(2, 3, 2),
        nn.Embedding(7, 3),
        nn.MultiheadAttention(3, 3, batch_first=True),
        parametrizations.weight_norm(nn.Linear(2, 3)),
        prune.random_unstructured(nn.Linear(2, 3), "weight", amount=2),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_makes_a_unit_moves_it_and_no_other_where_none_feeds_back(module: Any) -> None:
    """Weights that make unit 1 change unit 1 of the first step of a sequence, and no other unit of it."""
    net = nn.Sequential(module, nn.Linear(3, 1))
    attends = isinstance(module, nn.MultiheadAttention)
    (unit,) = find_components(net, "0.out_proj:input[1]" if attends else "0[1]")
    assert unit.weights
    moved = unit.moved(dict(net.named_parameters()))
    given = torch.randint(0, 7, (4, 1)) if isinstance(module, nn.Embedding) else torch.randn(4, 2, 2)
    if attends:
        given = torch.randn(4, 2, 3)
    before = run(module, given)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name in moved and "out_proj" not in name:
                parameter.add_(moved[name].to(parameter.dtype) * 0.5)
    different = (run(module, given) - before).abs().amax(0)
    assert different[1] > 1e-4
    assert different[[0, 2]].max() < 1e-6


def run(module: Any, given: Tensor) -> Tensor:
    """Returns the units of the first position [example, unit]; of attention its heads, each of one feature."""
    if isinstance(module, nn.MultiheadAttention):
        weights, bias = torch.eye(3), torch.zeros(3)
        names = (module.in_proj_weight, module.in_proj_bias, None, None, False, 0.0, weights, bias)
        turned = given.transpose(0, 1)
        return nn.functional.multi_head_attention_forward(turned, turned, turned, 3, 3, *names)[0][0].detach()
    if isinstance(module, nn.ConvTranspose1d):
        return module(given)[..., 0].detach()
    output = module(given)
    output = output[0] if isinstance(output, tuple) else output
    return output[:, 0].detach()


def test_a_spectral_norm_depends_on_all_entries_and_is_not_stepped_by_looking() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(3, 2))
    net = nn.Sequential(layer, nn.Linear(2, 1)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert stored(layer, "weight", 0) is None
    (unit, whole) = find_components(net, ["0[1]", "0"])
    assert (unit.weights, unit.kind) == ((), "neuron_in")
    assert {one.parameter for one in whole.weights} == {"0.bias", "0.parametrizations.weight.original"}
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_layers_partition_the_parameters_of_any_module() -> None:
    net = nn.Sequential(
        nn.Embedding(5, 4),
        nn.TransformerEncoderLayer(4, 2, 6),
        nn.GRU(4, 4),
        parametrizations.weight_norm(nn.Linear(4, 4)),
    )
    owned = [one.parameter for layer in find_components(net, "layers") for one in layer.weights]
    assert sorted(owned) == sorted(name for name, _ in net.named_parameters())


def test_a_lazy_layer_has_no_units_yet() -> None:
    net = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1))
    found = find_components(net, "0", explain=True)[0]
    assert "run a batch through the module first" in found.no_llc
    assert found.weights == 0


def test_rows_of_gates_groups_and_shared_entries() -> None:
    assert Rows("w", 0, blocks=3).of([0, 2], 3) == (0, 2, 3, 5, 6, 8)
    assert Rows("w", 0, group=2, shared=2).of([0, 1, 2], 4) == (0, 1, 2, 3)
    assert own_parameters(nn.LSTM(2, 3)) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert units_of(nn.ReLU()).axis is None


def test_units_of_nobody_knows_which_axis_are_refused() -> None:
    from llc_lightning import ablation_effects

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.out = nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Linear(4, 1)

        def per_example_loss(self, batch: Tensor) -> Tensor:
            return self.out(self.act(self.conv(batch)).mean((2, 3)))[:, 0]

    with pytest.raises(AddressError, match=r"'act\[1\]' names units, but nothing tells which axis of 'act'"):
        ablation_effects(Net(), torch.randn(8, 2, 4, 4), "act[1]")
    assert isinstance(find_components(Net(), "act")[0], Component)
