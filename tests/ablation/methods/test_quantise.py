"""Quantised weights."""

import pytest
import torch
from torch import Tensor

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.ablation.methods.quantise import Quantise
from llc_lightning.components.component import WeightSlice
from llc_lightning.runtime.errors import SettingError
from tests.ablation.nets import Circuits, circuits_data


def rounded(values: Tensor, bits: int) -> Tensor:
    (edited,) = Quantise(bits).edited([Weight(WeightSlice("w"), values, values, None)], seed=0, draw=0)
    return edited


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (2, [1.0, 0.0, -1.0, 0.0]),
        (3, [1.0, 0.0, -2 / 3, 1 / 3]),
        (4, [1.0, 1 / 7, -5 / 7, 2 / 7]),
    ],
)
def test_the_nearest_of_a_symmetric_grid(bits: int, expected: list[float]) -> None:
    values = torch.tensor([1.0, 0.12, -0.68, 0.28])
    torch.testing.assert_close(rounded(values, bits), torch.tensor(expected))
    torch.testing.assert_close(rounded(-3 * values, bits), -3 * torch.tensor(expected))


def test_rounding_twice_changes_nothing_and_zeros_stay() -> None:
    values = torch.randn(5, 4)
    assert torch.equal(rounded(rounded(values, 4), 4), rounded(values, 4))
    assert torch.equal(rounded(torch.zeros(3), 4), torch.zeros(3))
    assert rounded(torch.tensor([1.0, torch.nan]), 4).isnan().any()
    assert rounded(values.bfloat16(), 4).dtype == torch.bfloat16


def test_more_bits_cost_less() -> None:
    torch.manual_seed(0)
    table = ablation_effects(Circuits(), circuits_data(90), "all", [f"quantise(bits={bits})" for bits in (2, 8, 16)])
    sizes = table[table["loss"] == "train"]["value"].abs().tolist()
    assert sizes[0] > 10 * sizes[1] > 100 * sizes[2] > 0


@pytest.mark.parametrize("bits", [1, 0, -3])
def test_too_few_bits_are_refused(bits: int) -> None:
    with pytest.raises(SettingError, match=rf"^bits is {bits}; quantise to at least 2 bits, one of them for the sign"):
        Quantise(bits)
