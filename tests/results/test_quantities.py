"""Every quantity has a unit and a definition."""

import pytest

from llc_lightning.results.quantities import QUANTITIES, register_quantity
from llc_lightning.runtime.errors import SettingError


def test_the_quantities_that_readers_rely_on() -> None:
    assert {
        "loss",
        "llc",
        "llc_correction",
        "ablation_effect",
        "grad_norm",
        "weight_norm",
        "sign_accuracy",
        "accuracy",
        "circuits_solved",
        "baseline_loss",
    } <= set(QUANTITIES)


@pytest.mark.parametrize("name", QUANTITIES.names())
def test_each_is_defined_in_a_sentence(name: str) -> None:
    quantity = QUANTITIES.get(name).item
    assert quantity.name == name
    assert quantity.unit
    assert quantity.definition.endswith(".")
    assert QUANTITIES.get(name).summary == quantity.definition


def test_a_name_is_taken_once() -> None:
    with pytest.raises(SettingError) as caught:
        register_quantity("llc", unit="1", definition="Again.")
    assert str(caught.value) == "the quantity 'llc' is registered already; choose another name."
