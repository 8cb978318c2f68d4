"""Constant ablations as edits of the weights of convolutions: exact, or refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.ablation.procedures.weight_edit import weight_edit
from llc_lightning.components.hooks import WeightAxes
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.errors import SettingError
from tests.ablation.nets import replaced

IMAGES = torch.randn(6, 1, 6, 6, generator=torch.Generator().manual_seed(0))


class Reader(nn.Module):
    """Channels and the convolution that reads them."""

    def __init__(self, reader: nn.Module) -> None:
        super().__init__()
        self.maps, self.hook_maps, self.reader = nn.Conv2d(1, 4, 3), nn.Identity(), reader

    def weight_axes(self) -> dict[str, WeightAxes]:
        own = (("maps.weight", 0),), (("maps.bias", 0),), (("reader.weight", 1),)
        return {"hook_maps": WeightAxes(*own, unit="channel", unit_axis=-3)}

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.reader(self.hook_maps(self.maps(batch).relu())).square().sum((-3, -2, -1))


EXACT = {
    "valid": ({"padding": "valid"}, 0.7),
    "no padding": ({"padding": (0, 0), "stride": 2}, 0.7),
    "same, of one pixel": ({"kernel_size": 1, "padding": "same"}, 0.7),
    "circular": ({"padding": 1, "padding_mode": "circular"}, 0.7),
    "reflected": ({"padding": "same", "padding_mode": "reflect"}, 0.7),
    "zeros around zeros": ({"padding": 1}, 0.0),
}


@torch.no_grad()
@pytest.mark.parametrize("case", EXACT)
def test_where_it_is_exact_it_is_the_ablation(case: str) -> None:
    settings, constant = EXACT[case]
    module = Reader(nn.Conv2d(4, 3, **({"kernel_size": 3} | settings)))
    loss, params = loss_fn(module), snapshot_params(module)
    (part,) = find_components(module, "hook_maps[0,2]")
    edited = loss(weight_edit(module, params, part, constant), IMAGES)
    change = replaced(part, torch.full((6, 4, 4, 4), constant))
    module.hook_maps.register_forward_hook(lambda _, __, output: change(output))
    torch.testing.assert_close(edited, module.per_example_loss(IMAGES), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(edited, loss(params, IMAGES))


REFUSED: dict[str, tuple[Any, str]] = {
    "zeros": (nn.Conv2d(4, 3, 3, padding=1), "with zeros around it"),
    "same": (nn.Conv2d(4, 3, 3, padding="same"), "with zeros around it"),
    "transposed": (nn.ConvTranspose2d(4, 4, 3), "by a transposed convolution"),
    "groups": (nn.Conv2d(4, 4, 3, groups=1).requires_grad_(False), "in groups"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_is_not_it_says_why(case: str) -> None:
    reader, why = REFUSED[case]
    module = Reader(reader)
    (part,) = find_components(module, "hook_maps[1]")
    if case == "groups":
        reader.groups = 2
    with pytest.raises(SettingError) as error:
        weight_edit(module, snapshot_params(module), part, 0.7)
    assert str(error.value) == f"'reader.weight' reads 'hook_maps[1]' {why}; such have no weight edit."
