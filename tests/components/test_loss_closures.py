"""A loss that reaches the weights of the module that it was copied from is told, whatever it measures."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.runtime.errors import SettingError


class Closure(nn.Module):
    def __init__(self, *, method: bool) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 1)
        self.head = self.applied if method else lambda hidden: self.down(hidden)

    def applied(self, hidden: Tensor) -> Tensor:
        return self.down(hidden)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.head(self.up(batch).relu())[:, 0].square()


def test_a_lambda_over_the_module_is_told_and_a_method_is_measured() -> None:
    data = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        SettingError, match=r"the loss does not read 'down\.bias' of the copy that is measured, .* lambda"
    ):
        ablation_effects(Closure(method=False), data, "layers")
    assert set(ablation_effects(Closure(method=True), data, "layers")["component"]) == {"up", "down"}
