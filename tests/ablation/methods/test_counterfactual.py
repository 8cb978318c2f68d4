"""Counterfactual ablation."""

import pytest
import torch
from torch import Tensor

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.base import Activations
from llc_lightning.ablation.methods.counterfactual import Counterfactual
from llc_lightning.runtime.errors import DataError, SettingError
from tests.ablation.nets import Circuits, circuits_data


class Knowing(Circuits):
    def counterfactual(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return -batch[0], batch[1]


def test_values_are_the_partners_activations() -> None:
    reference = torch.randn(10, 3)
    (one, two) = Counterfactual().values(
        Activations(reference, partner=reference + 1), [torch.arange(6), torch.arange(4, 10)], seed=0
    )
    assert torch.equal(one[0], reference[:6] + 1)
    assert torch.equal(two[0], reference[4:] + 1)


def test_partners_are_given_or_the_modules_own() -> None:
    x, y = circuits_data(70)
    torch.manual_seed(3)
    module = Knowing()
    own = ablation_effects(module, (x, y), "hook_hidden[1]", "counterfactual")
    given = ablation_effects(module, (x, y), "hook_hidden[1]", "counterfactual", counterfactual=(-x, y))
    assert own.equals(given)
    with torch.no_grad():
        hidden, other = module.W_in(x).relu(), module.W_in(-x).relu()
        clean = (module.W_out(hidden) - y) ** 4
        hidden[:, 1] = other[:, 1]
        expected = ((module.W_out(hidden) - y) ** 4 - clean).mean()
    assert own["value"][0] == pytest.approx(expected.item(), abs=1e-6)


def test_without_partners_it_says_what_to_give() -> None:
    with pytest.raises(SettingError) as error:
        ablation_effects(Circuits(), circuits_data(9), methods="counterfactual")
    assert str(error.value) == (
        "the ablation method 'counterfactual' needs a partner of each example; give counterfactual=, or give the "
        "module "
        "a method counterfactual(batch)."
    )
    with pytest.raises(DataError, match=r"^there are 8 counterfactual partners for 9 examples; give one for each\.$"):
        ablation_effects(Circuits(), circuits_data(9), methods="counterfactual", counterfactual=circuits_data(8))
