"""Whether anything reads an activation, also where the gradient cannot tell."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.unread import check_read
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.errors import AddressError


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


class Beside(InPlace):
    """Has a layer beside it whose units are off for all examples, and read."""

    def __init__(self) -> None:
        super().__init__()
        self.dead = nn.Linear(4, 2)
        nn.init.constant_(self.dead.bias, -100.0)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return super().per_example_loss(batch) + self.dead(batch).relu().sum(1)


def test_where_one_gradient_fails_the_others_are_asked_for_by_themselves() -> None:
    batch = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    for components in (["layer[2]"], ["dead[0]"], ["layer[2]", "dead[0]"], ["dead[0]", "layer[2]"]):
        assert set(ablation_effects(Beside(), batch, components, "zero")["value"]) == {0.0}


def test_a_layer_that_few_examples_pass_is_read() -> None:
    class Rare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.rare = nn.Linear(4, 2), nn.Linear(2, 2)

        def per_example_loss(self, batch: Tensor) -> Tensor:
            h = self.layer(batch).sum(1)
            return h + self.rare(self.layer(batch)).relu().sum(1) if len(batch) > 3 else h + 0 * self.rare.bias.sum()

    net, batch = Rare(), torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    nn.init.constant_(net.rare.bias, -100.0)
    check_read(loss_fn(net), snapshot_params(net), batch, ["layer", "rare"])


def test_one_pass_asks_of_all_hook_points_and_each_that_nothing_reads_is_found() -> None:
    passes: list[int] = []

    class Shown(InPlace):
        def per_example_loss(self, batch: Tensor) -> Tensor:
            passes.append(len(batch))
            h = self.layer(batch).tanh()
            self.show(h)
            return self.read(h)[:, 0].square()

    net, batch = Shown(), torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    check_read(loss_fn(net), snapshot_params(net), batch, ["layer", "read"])
    assert passes == [3]
    with pytest.raises(AddressError, match="'show'"):
        check_read(loss_fn(net), snapshot_params(net), batch, ["layer", "show", "read"])
