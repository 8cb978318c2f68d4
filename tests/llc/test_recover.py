"""Re-optimisation against minima that are known."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.llc.recover import recover
from llc_lightning.runtime.errors import SettingError

HESSIAN = torch.diag(torch.tensor([3.0, 0.5, 0.01], dtype=torch.float64))
MINIMUM = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
DATA = torch.zeros(5, dtype=torch.float64)


def quadratic(params: dict[str, Tensor], batch: Tensor) -> Tensor:
    away = torch.cat([params["a"], params["b"]]) - MINIMUM
    return 0.5 * (away @ HESSIAN @ away) + 0.0 * batch


def start() -> dict[str, Tensor]:
    return {"a": torch.zeros(2, dtype=torch.float64), "b": torch.zeros(1, dtype=torch.float64)}


@pytest.mark.parametrize("gamma", [0.0, 1.0, 30.0])
def test_it_ends_at_the_mode_of_the_localised_posterior(gamma: float) -> None:
    n_beta = 100.0
    found = recover(quadratic, start(), DATA, n_beta=n_beta, gamma=gamma, tolerance=0.0)
    mode = torch.linalg.solve(n_beta * HESSIAN + gamma * torch.eye(3), n_beta * HESSIAN @ MINIMUM)
    torch.testing.assert_close(torch.cat([found.params["a"], found.params["b"]]), mode, atol=1e-6, rtol=0)
    rest = mode - MINIMUM
    gap = 0.5 * (MINIMUM @ HESSIAN @ MINIMUM - rest @ HESSIAN @ rest).item()
    assert found.gap == pytest.approx(gap, abs=1e-9)
    assert found.left <= 1e-6


def test_what_is_not_moved_stays_to_the_bit() -> None:
    moved = {"a": torch.tensor([True, False])}
    found = recover(quadratic, start(), DATA, n_beta=1.0, moved=moved)
    assert found.params["a"][0].item() == pytest.approx(1.0, abs=1e-6)
    assert found.params["a"][1].item() == 0.0
    assert torch.equal(found.params["b"], start()["b"])


def rosenbrock(params: dict[str, Tensor], batch: Tensor) -> Tensor:
    x, y = params["w"]
    return (1 - x).square() + 100 * (y - x.square()).square() + 0.0 * batch


def test_it_says_what_was_still_to_gain() -> None:
    at = {"w": torch.tensor([-1.2, 1.0], dtype=torch.float64)}
    short = recover(rosenbrock, at, DATA, n_beta=1e4, budget=10)
    long = recover(rosenbrock, at, DATA, n_beta=1e4)
    assert short.left > 1.0
    assert short.iterations == 10
    assert long.left < 0.01
    assert long.losses.mean().item() == pytest.approx(0.0, abs=1e-8)


def test_a_gap_has_the_error_of_its_examples() -> None:
    data = torch.linspace(-1, 1, 50, dtype=torch.float64)

    def squares(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        return (params["w"] - batch - 3).square()

    found = recover(squares, {"w": torch.zeros((), dtype=torch.float64)}, data, n_beta=1e6)
    paired = (data + 3).square() - data.square()
    assert found.gap == pytest.approx(paired.mean().item(), rel=1e-6)
    assert found.gap_stderr == pytest.approx(paired.std().item() / math.sqrt(50), rel=1e-4)
    assert math.isnan(recover(squares, {"w": torch.zeros(())}, data[:1], n_beta=1.0).gap_stderr)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_beta": 0.0}, r"n_beta is 0\.0; .*"),
        ({"gamma": -1.0}, r"gamma is -1\.0; .*"),
        ({"budget": 5}, r"budget is 5; .*"),
        ({"moved": {"c": torch.ones(2, dtype=torch.bool)}}, r".*'c'.*"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        recover(quadratic, start(), DATA, **{"n_beta": 1.0, **wrong})
