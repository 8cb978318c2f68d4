"""A loss and its gradient."""

import pytest

from llc_lightning.sampling.observables.base import apart
from llc_lightning.sampling.observables.gradient_check import GradientCheck
from tests.sampling.observables.looks import look_at, misled

RISE = (1.2**2 - 1) / 2
"""Of a half square from its argument to 1.2 times that."""


def test_a_loss_rises_as_its_gradient_says() -> None:
    risen, sloped = apart(GradientCheck(1).look(look_at([[3.0, 4.0], [1.0, 0.0]])))
    assert risen.flatten().tolist() == pytest.approx([25 * RISE, RISE], rel=1e-5)
    assert sloped.flatten().tolist() == pytest.approx([25 * RISE, RISE], rel=1e-5)


def test_one_that_is_detached_in_part_does_not() -> None:
    risen, sloped = apart(GradientCheck(1).look(look_at([[1.0, 0.0]], loss=misled)))
    assert (risen.item(), sloped.item()) == pytest.approx((3 * RISE, RISE), rel=1e-5)
