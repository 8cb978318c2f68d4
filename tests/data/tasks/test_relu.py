"""The relu task, a negative control."""

import pytest
import torch

from llc_lightning.data.tasks.relu import ReluTask
from llc_lightning.runtime.seeding import generator

TASK = ReluTask(100)


def test_active_numbers_are_uniform() -> None:
    x, y = TASK.sample(65_536, generator(0))
    on = x[x != 0]
    assert torch.equal(y, x.relu())
    assert on.min() < -0.99
    assert on.max() > 0.99
    assert on.mean().abs() < 4 / len(on) ** 0.5
    assert on.square().mean().item() == pytest.approx(1 / 3, rel=0.02)


def test_formulas() -> None:
    assert TASK.q == 0.01
    assert TASK.dedicated_loss(2.0, 50) == pytest.approx((1 - 50 / 100) / 6)
    assert TASK.dedicated_loss(4.0, 50) == pytest.approx((1 - 50 / 100) / 10)


def test_shares_that_half_the_input_and_zero_get_right() -> None:
    x, y = TASK.sample(65_536, generator(0))
    active = TASK.is_active(x, y)
    assert TASK.is_correct(x / 2, y)[active].double().mean().item() == pytest.approx(1 / 2, rel=0.02)
    assert TASK.is_correct(0 * x, y)[active].double().mean().item() == pytest.approx(5 / 8, rel=0.02)
