"""Powers of absolute errors."""

import pytest
import torch

from llc_lightning.models.powers import power_of


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
def test_every_power_is_that_of_the_absolute_error(power: float) -> None:
    error = torch.linspace(-2, 2, 41, dtype=torch.float64)
    assert torch.allclose(power_of(error, power), error.abs() ** power)


@pytest.mark.parametrize("power", [1.5, 2.0, 3.0, 4.0])
def test_the_gradient_is_finite_and_zero_without_an_error(power: float) -> None:
    error = torch.tensor([0.0, -2.0], requires_grad=True)
    power_of(error, power).sum().backward()
    assert error.grad.tolist() == pytest.approx([0.0, -power * 2 ** (power - 1)])
