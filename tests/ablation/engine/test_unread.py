"""Whether anything reads an activation, also where the gradient cannot tell."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects


class InPlace(nn.Module):
    """Writes over what its gradient needs; its third unit is never positive."""

    def __init__(self, *, shown: bool = False) -> None:
        super().__init__()
        self.layer, self.show, self.read = nn.Linear(4, 6), nn.Identity(), nn.Linear(6, 1)
        nn.init.constant_(self.layer.bias[2:3].data, -100.0)
        self.shown = shown

    def per_example_loss(self, batch: Tensor) -> Tensor:
        h = self.layer(batch)
        if self.shown:
            self.show(h)
        h.relu_()
        h += self.layer.weight.sum() * h.sigmoid()
        h.mul_(2)
        return self.read(h)[:, 0].square()


def test_a_unit_without_effect_in_a_module_that_writes_in_place() -> None:
    batch = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert ablation_effects(InPlace(), batch, "layer[2]", "zero")["value"].tolist() == [0.0]
    with pytest.raises(ValueError, match="does not depend on what the hook point 'show' shows"):
        ablation_effects(InPlace(shown=True), batch, "show", "zero")
