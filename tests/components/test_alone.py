"""Losses that look at other examples, draw random numbers or write to their batch are refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from llc_lightning.components.alone import check_alone
from llc_lightning.runtime.errors import SettingError

PARAMS = {"w": torch.ones(3)}
DATA = torch.randn(70, 3, generator=torch.Generator().manual_seed(0))


def of_each(params: dict[str, Tensor], x: Tensor) -> Tensor:
    return (x @ params["w"].to(x)).square()


WRONG: dict[str, Callable[[dict[str, Tensor], Tensor], Tensor]] = {
    "other examples": lambda params, x: of_each(params, x - x.mean(0)),
    "chance": lambda params, x: of_each(params, x) * torch.rand(len(x)),
    "writes": lambda params, x: of_each(params, x.mul_(0.5)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_loss_of_anything_but_weights_and_example_is_refused(wrong: str) -> None:
    data = DATA.clone()
    with pytest.raises(SettingError, match=r"the loss of example \d+ is .* in one batch and .* in another; it must"):
        check_alone(WRONG[wrong], PARAMS, data)
    assert torch.equal(data, DATA)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_loss_of_each_example_is_taken(dtype: torch.dtype) -> None:
    check_alone(of_each, {"w": torch.ones(3, dtype=dtype)}, DATA.to(dtype))
    check_alone(of_each, PARAMS, DATA[:1])


def test_losses_of_a_net_without_error_differ_by_rounding() -> None:
    generator = torch.Generator().manual_seed(1)
    check_alone(lambda params, x: 1e-7 * torch.rand(len(x), generator=generator), PARAMS, DATA)
