"""Weights of low rank."""

import pytest
import torch
from torch import Tensor

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.ablation.methods.low_rank import LowRank
from llc_lightning.components.component import WeightSlice
from llc_lightning.runtime.errors import SettingError
from tests.ablation.nets import Circuits, circuits_data


def nearest(values: Tensor, rank: int, form: tuple[int, int, int] | None) -> Tensor:
    (edited,) = LowRank(rank).edited([Weight(WeightSlice("w"), values, values, form)], seed=0, draw=0)
    return edited


def test_the_largest_singular_values_stay() -> None:
    values = torch.diag(torch.tensor([3.0, -2.0, 1.0]))
    torch.testing.assert_close(nearest(values, 2, (1, 3, 3)), torch.diag(torch.tensor([3.0, -2.0, 0.0])))
    torch.testing.assert_close(nearest(values, 1, (1, 3, 3)), torch.diag(torch.tensor([3.0, 0.0, 0.0])))
    assert torch.equal(nearest(values, 3, (1, 3, 3)), values)


def test_the_error_is_that_of_eckart_and_young() -> None:
    values = torch.randn(6, 4, dtype=torch.float64)
    left = torch.linalg.svdvals(values)[2:].square().sum().sqrt()
    assert float((nearest(values, 2, (1, 6, 4)) - values).norm()) == pytest.approx(float(left))


def test_kernels_are_one_matrix_and_heads_one_each() -> None:
    kernel, heads = torch.randn(4, 3, 2, 2), torch.randn(3, 5, 4)
    assert torch.linalg.matrix_rank(nearest(kernel, 2, (1, 4, 12)).flatten(1)) == 2
    edited = nearest(heads, 1, (3, 5, 4))
    assert torch.linalg.matrix_rank(edited).tolist() == [1, 1, 1]
    for head in range(3):
        torch.testing.assert_close(edited[head], nearest(heads[head], 1, (1, 5, 4)))


def test_vectors_and_what_is_not_finite_stay() -> None:
    bias, broken = torch.randn(3, 4), torch.full((3, 3), torch.nan)
    assert torch.equal(nearest(bias, 1, None), bias)
    assert nearest(broken, 1, (1, 3, 3)).isnan().all()


def test_a_neuron_is_of_rank_1_already() -> None:
    module, data = Circuits(), circuits_data(90)
    table = ablation_effects(module, data, ["neurons", "hook_hidden"], "low_rank")
    neurons = table[table["kind"] == "neuron"]
    assert (neurons[["value", "stderr"]] == 0).all(axis=None)
    assert (table[table["kind"] == "neuron"]["status"] == "ok").all()
    assert (table[table["component"] == "hook_hidden"]["value"] != 0).all()


def test_no_rank_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^rank is 0; leave at least rank 1, or use the method 'weight_zero'\.$"):
        LowRank(0)
