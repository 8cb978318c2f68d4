"""Ablations, counted: what waits for a device does so as often for many components as for few."""

import pytest

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.base import METHODS
from tests.ablation.nets import Circuits, circuits_data
from tests.sampling.test_dispatches import WAITS, Operations

ALIKE = {"zero", "mean", "resample", "noise", "weight_zero", "weight_noise", "low_rank"}


def waits(method: str, components: int) -> dict[str, int]:
    """Returns how often each operation is made that waits for the device."""
    module, data = Circuits().eval(), circuits_data(64)
    some = [f"hook_hidden[{number}]" for number in range(components)]
    ablation_effects(module, data, some, method)  # what a process finds out once
    with Operations() as seen:
        ablation_effects(module, data, some, method)
    return {name: number for name, number in seen.made.items() if name in WAITS}


@pytest.mark.parametrize("method", sorted(ALIKE))
def test_more_components_wait_no_more_often(method: str) -> None:
    assert method in METHODS
    assert waits(method, 5) == waits(method, 2)
