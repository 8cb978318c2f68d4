"""The abs task: absolute values of sparse numbers."""

import pytest
import torch

from llc_lightning.data.tasks.abs import AbsTask
from llc_lightning.runtime.seeding import generator

TASK = AbsTask(100)


def test_targets_are_absolute_values_of_uniform_numbers() -> None:
    x, y = TASK.sample(65_536, generator(0))
    assert torch.equal(y, x.abs())
    assert x[x != 0].square().mean().item() == pytest.approx(1 / 3, rel=0.02)


def test_formulas() -> None:
    assert TASK.dedicated_loss(2.0, 50) == pytest.approx((1 - 50 / 100) / 3)
    assert TASK.dedicated_loss(4.0, 50) == pytest.approx((1 - 50 / 100) / 5)


def test_zero_is_right_on_half_of_the_active_examples() -> None:
    x, y = TASK.sample(65_536, generator(0))
    active = TASK.is_active(x, y)
    assert TASK.is_correct(0 * x, y)[active].double().mean().item() == pytest.approx(1 / 2, rel=0.02)


def test_hand_wired_circuits_are_exact() -> None:
    weights = AbsTask(1).dedicated_weights(1)
    x = torch.linspace(-1, 1, 9)[:, None]
    outputs = (x @ weights["W_in"].T).relu() @ weights["W_out"].T + x @ weights["W_skip"].T
    assert torch.equal(outputs, x.abs())
