"""The two sides of a component as masks."""

import pytest
import torch

from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.runtime.errors import AddressError


def test_units_of_an_activation() -> None:
    units = Component("h[0,2]", "set", "h", (0, 2))
    assert units.unit_mask(torch.zeros(4)).tolist() == [True, False, True, False]
    assert units.unit_mask(torch.zeros(7, 3)).tolist() == [True, False, True]
    assert Component("h", "layer", "h").unit_mask(torch.zeros(3)).tolist() == [True, True, True]


def test_units_on_an_inner_axis_broadcast_against_the_activation() -> None:
    mask = Component("h[1]", "head", "h", (1,), -2).unit_mask(torch.zeros(5, 3, 4))
    assert mask.shape == (3, 1)
    replaced = torch.where(mask, 1.0, torch.zeros(5, 3, 4))
    assert replaced.sum() == 20
    assert replaced[:, 1].eq(1).all()
    assert Component("h[1]", "neuron_in", "h", (1,), -3).unit_mask(torch.zeros(3, 8, 8)).shape == (3, 1, 1)


@pytest.mark.parametrize(("units", "axis", "shape"), [((4,), -1, (4,)), ((0,), -2, (4,)), ((0,), -1, ())])
def test_units_outside_of_the_activation(units: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(IndexError):
        Component("h", "neuron", "h", units, axis).unit_mask(torch.zeros(shape))


def test_weights_as_masks() -> None:
    params = {"W": torch.zeros(3, 2), "b": torch.zeros(3), "V": torch.zeros(4, 3), "c": torch.zeros(4)}
    slices = (
        WeightSlice("W", 0, (1,)),
        WeightSlice("b", 0, (1,)),
        WeightSlice("V", 1, (1,)),
        WeightSlice("V", -2, (0,)),
    )
    moved = Component("h[1]", "neuron", "h", (1,), weights=slices).moved(params)
    assert set(moved) == {"W", "b", "V"}
    assert moved["W"].tolist() == [[False, False], [True, True], [False, False]]
    assert moved["b"].tolist() == [False, True, False]
    assert moved["V"].tolist() == [[True, True, True], *([[False, True, False]] * 3)]
    assert all(mask.dtype == torch.bool for mask in moved.values())
    whole = Component("c", "parameter", weights=(WeightSlice("c"),)).moved(params)
    assert whole["c"].tolist() == [True] * 4


def test_a_part_without_weights_moves_nothing() -> None:
    assert Component("h", "layer", "h").moved({"W": torch.zeros(1)}) == {}


def test_parameters_of_another_module() -> None:
    component = Component("h[1]", "neuron", "h", (1,), weights=(WeightSlice("net.W_in", 0, (1,)),))
    with pytest.raises(AddressError) as raised:
        component.moved({"W_in": torch.zeros(3, 2)})
    assert str(raised.value) == ("'h[1]' moves an unknown parameter 'net.W_in'; did you mean 'W_in'? Use one of: W_in.")
