"""Estimates that are wrong and look settled: each has a reason against it, or is right by default."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.components.loss import loss_fn
from llc_lightning.exact import quadratic_value
from llc_lightning.llc.estimator import estimate_llc, estimate_parts
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.runtime.errors import SettingError

Loss = Callable[[dict[str, Tensor], Tensor], Tensor]


def quadratic(curvature: list[float], above: float = 0.0) -> Loss:
    h = torch.tensor(curvature)
    return lambda params, batch: above + (h * params["w"].square()).sum() / 2 + 0 * batch


def detached(params: dict[str, Tensor], batch: Tensor) -> Tensor:
    seen, unseen = params["w"][:10], params["w"][10:].detach()
    return (seen.square().sum() + unseen.square().sum()) / 2 + 0 * batch


def rounded(params: dict[str, Tensor], batch: Tensor) -> Tensor:
    return params["w"].round().square().sum() + 0 * batch


def pointed(params: dict[str, Tensor], batch: Tensor) -> Tensor:
    return params["w"].abs().sum() + 0 * batch


def upwards(power: int) -> Loss:
    return lambda params, batch: params["w"].relu().pow(power).sum() + 0 * batch


def estimate(loss: Loss, weights: int, **settings: Any) -> LLCRecord:
    return estimate_llc(loss, {"w": torch.zeros(weights)}, torch.zeros(1), **{"gamma": 1.0, **settings})


def test_the_default_is_right_on_a_quadratic() -> None:
    record = estimate(quadratic([1.0] * 20), 20, n_beta=100.0, draws=1000)
    assert record.status == "ok"
    assert abs(record.value - quadratic_value([1.0] * 20, n_beta=100.0, gamma=1.0)) < 3 * record.stderr


@pytest.mark.parametrize(
    ("reason", "loss", "weights", "settings"),
    [
        ("step-bias", quadratic([1.0] * 20), 20, {"n_beta": 100.0, "sampler": "sgld", "step_fraction": 0.4}),
        ("not-settled", quadratic([1.0] * 8 + [1e-3]), 9, {"n_beta": 1000.0, "gamma": 1e-3}),
        ("rounding", quadratic([1.0] * 4, above=1e6), 4, {"n_beta": 1e4}),
        ("rounding", quadratic([1.0] * 4, above=3e4), 4, {"n_beta": 1e4}),
        ("wrong-gradient", detached, 12, {"n_beta": 4.0}),
        ("wrong-gradient", rounded, 4, {"n_beta": 1.0}),
        ("step-bias", pointed, 10, {"n_beta": 1000.0, "sampler": "sgnht", "step_size": 4e-4}),
        ("step-bias", pointed, 10, {"n_beta": 1000.0, "step_size": 4e-4}),
        ("drifting", upwards(1), 10, {"n_beta": 1000.0}),
        ("drifting", upwards(1), 30, {"n_beta": 500.0}),
        ("drifting", upwards(2), 30, {"n_beta": 500.0}),
        ("box-hits", quadratic([1.0] * 10), 10,
         {"n_beta": 100.0, "gamma": 1e-6, "box": 0.23, "step_size": 2e-4, "draws": 4000, "chains": 16}),
    ],
    ids=["step bias", "slow direction", "1e6 above", "3e4 above", "detach", "round", "sgnht, |w|", "lm, |w|", "relu",
         "30 of relu", "30 of relu^2", "box"],
)  # fmt: skip
def test_what_is_wrong_has_a_reason(reason: str, loss: Loss, weights: int, settings: dict[str, Any]) -> None:
    assert reason in estimate(loss, weights, **settings).status.split("+")


def test_a_loss_that_lies_not_too_high_and_one_with_a_kink_in_its_slope_are_ok() -> None:
    assert estimate(quadratic([1.0] * 4, above=100.0), 4, n_beta=1e4).status == "ok"

    def kinked(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        return params["w"].square().sum() / 2 + params["w"].relu().square().sum() + 0 * batch

    assert estimate(kinked, 4, n_beta=100.0).status == "ok"


def test_directions_that_are_flat_altogether_are_ok_however_far_from_settled() -> None:
    record = estimate(lambda params, batch: 0 * params["w"].sum() + 0 * batch, 10, n_beta=1000.0)
    assert (record.value, record.status) == (0.0, "ok")
    assert estimate(quadratic([1.0] * 4 + [0.0] * 30), 34, n_beta=1000.0).status == "ok"


def test_what_moves_decides_what_is_the_full_model() -> None:
    loss, params = quadratic([1.0] * 4), {"w": torch.zeros(4)}
    at, settings = [Resolution(1000.0, 0.01)], ChainSettings(draws=400, burn_in=100)
    parts = [Restriction(None), Restriction({"w": torch.ones(4, dtype=torch.bool)})]
    records = estimate_parts(loss, params, torch.zeros(1), parts, at, settings)
    assert [one.status for (one,) in records] == ["ok", "ok"]


def test_numbers_that_cannot_move_are_left_out() -> None:
    def loss(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        return params["w"].square().sum() / 2 + 0 * params["steps"] + 0 * batch

    params = {"w": torch.zeros(4), "steps": torch.tensor(3)}
    record = estimate_llc(loss, params, torch.zeros(1), n_beta=10.0, gamma=1.0)
    assert (record.dimension, record.status) == (4, "ok")


def test_one_parameter_with_two_names_is_refused() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Linear(3, 3, bias=False)
            self.b = torch.nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def per_example_loss(self, batch: Tensor) -> Tensor:
            return self.b(self.a(batch)).square().sum(1)

    module, data = Tied(), torch.ones(4, 3)
    with pytest.raises(SettingError, match=r"'a\.weight' and 'b\.weight' are one parameter; give it once"):
        estimate_llc(loss_fn(module), dict(module.state_dict()), data, n_beta=1.0, gamma=1.0)
    with pytest.raises(SettingError, match=r"the loss is of type Tied; give .* loss_fn\(module\)"):
        estimate_llc(module, dict(module.named_parameters()), data, n_beta=1.0, gamma=1.0)


def test_watched_examples_are_drawn_at_random() -> None:
    x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    x[:100] = 0  # sorted data: the first say nothing

    def loss(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        return (batch @ params["w"]).square() / 2

    record = estimate_llc(
        loss, {"w": torch.zeros(5)}, x, n_beta=100.0, gamma=1.0, batch_size=32, watched_examples=100, draws=300
    )
    assert record.estimates["functional_variance"].value > 0.05
