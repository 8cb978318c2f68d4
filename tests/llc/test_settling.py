"""What is predicted of the way to equilibrium, against closed forms of quadratics and the chains themselves."""

import math

import pytest
import torch

from llc_lightning.exact.quadratic import quadratic_value
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settling import Settling
from llc_lightning.runtime.batches import Params
from llc_lightning.sampling.base import SAMPLERS
from llc_lightning.sampling.step_size import on_grid

DRAWS, BURN_IN = 300, 100


def estimate(curvature: list[float], *, angle: int | None = None, **settings: object) -> LLCRecord:
    """Returns an estimate of a quadratic, turned at random or along the axes."""
    curved = torch.tensor(curvature, dtype=torch.float64)
    turn = torch.eye(len(curvature), dtype=torch.float64)
    if angle is not None:
        stream = torch.Generator().manual_seed(angle)
        turn = torch.linalg.qr(torch.randn(len(curvature), len(curvature), generator=stream, dtype=torch.float64)).Q
    hessian = ((turn * curved) @ turn.T).float()

    def loss(params: Params, batch: torch.Tensor) -> torch.Tensor:
        return params["w"] @ hessian @ params["w"] / 2 + 0 * batch

    chosen = {"n_beta": 1000.0, "gamma": 1.0, "draws": DRAWS, "burn_in": BURN_IN, **settings}
    return estimate_llc(loss, {"w": torch.zeros(len(curvature))}, torch.zeros(1), **chosen)


def left(stiffness: float, sampler: str = "lm") -> float:
    """Returns how much of its variance a direction lacks, step by step."""
    shrunk = SAMPLERS.get(sampler).item.contraction(torch.tensor(stiffness, dtype=torch.float64)).item()
    return sum(shrunk ** (2 * step) for step in range(BURN_IN, BURN_IN + DRAWS)) / DRAWS


@pytest.mark.parametrize("curvature", [[1.0, 1e-3], [1.0] * 3 + [0.01] * 4 + [1e-3] * 5, [1.0] * 10 + [1e-3] * 30])
@pytest.mark.parametrize("angle", [None, 3])
def test_what_has_not_settled_is_the_share_of_the_value_that_slow_directions_lack(
    curvature: list[float], angle: int | None
) -> None:
    record = estimate(curvature, angle=angle, chains=4)
    felt = [1000 * h / (1000 * h + 1) for h in curvature]
    lacking = [m * left(record.step_size * (1000 * h + 1)) for m, h in zip(felt, curvature, strict=True)]
    share = sum(lacking) / sum(felt)
    # Up to 12 weights the whole spectrum is known, above it a quadrature of a few vectors; the larger of two is told.
    assert record.unsettled == pytest.approx(share, rel=1e-3 if len(curvature) <= 12 else 0.5)
    assert "not-settled" in record.status
    assert record.value < quadratic_value(curvature, n_beta=1000.0, gamma=1.0)


def test_flat_directions_that_do_not_count_are_not_missed() -> None:
    for angle in range(3):
        record = estimate([1.0] * 4 + [0.0] * 6, angle=angle, draws=500, burn_in=200)
        assert record.unsettled < 1e-3
        assert record.status == "ok"


def test_curvature_of_either_sign_that_fluctuates_is_not_missed() -> None:
    def unsettled(*curvature: float) -> float:
        rigid, pull = torch.tensor(curvature)[None, None], 1.0
        even = torch.ones_like(rigid)
        around = Settling((rigid + pull).clamp(min=pull), even, even, rigid)
        return around.unsettled(lambda stiffness: (-10 * stiffness).exp(), torch.tensor([0.1])).item()

    assert unsettled(100.0, 0.5) == pytest.approx(math.exp(-1.5) / 3 / (100 / 101 + 1 / 3), rel=1e-6)
    assert unsettled(100.0, 0.5, -0.5) == pytest.approx(0, abs=1e-6)
    assert 0 < unsettled(100.0, 0.5, -0.2) < unsettled(100.0, 0.5)
    assert unsettled(100.0, -0.5) == 0


@pytest.mark.parametrize(("sampler", "slow"), [("sgld", True), ("lm", True), ("sgnht", False)])
def test_chains_are_as_cold_as_predicted(sampler: str, slow: bool) -> None:
    """At an angle the diagonal of the virial weighs flat directions too, which makes the gap large and no alarm.

    Momentum carries chains through flat directions about ten times as fast.
    """
    record = estimate([1.0] * 4 + [0.0] * 6, angle=1, sampler=sampler, draws=500, burn_in=200)
    assert (record.estimates["stein"].value - record.value > 3 * record.stderr) == slow
    assert record.status == "ok"


def test_what_the_step_size_adds_is_told_by_the_formula() -> None:
    heated = estimate([1.0] * 10, sampler="sgld", step_fraction=0.4, draws=1000)
    calm = estimate([1.0] * 10, sampler="sgld", draws=1000)
    for record in (heated, calm):
        of_limit = record.step_size * 1001 / 4
        assert record.predicted_bias == pytest.approx(5 * 1000 / 1001 * of_limit / (1 - of_limit), rel=1e-3)
    assert (heated.status, calm.status) == ("step-bias", "ok")
    assert math.isnan(estimate([1.0] * 10).predicted_bias)


def test_a_slow_direction_and_a_hot_step_do_not_cancel() -> None:
    """The one makes the value too low, the other too high: each has its own reason."""
    record = estimate([1.0] * 4 + [1e-3] * 4, angle=2, sampler="sgld", step_fraction=0.8)
    assert {"not-settled", "step-bias"} <= set(record.status.split("+"))


def test_an_automatic_step_is_a_power_of_the_fourth_root_of_two() -> None:
    for sampler in ("lm", "sgld", "rmsprop_sgld"):
        exponent = 4 * math.log2(estimate([1.0, 0.37, 0.1], sampler=sampler, draws=50).step_size)
        assert exponent == pytest.approx(round(exponent), abs=1e-3)


def test_what_is_on_the_grid_stays_there() -> None:
    steps = torch.exp2(torch.arange(-80, 9) / 4)
    assert torch.equal(on_grid(steps), steps)
    assert torch.equal(on_grid(1.1 * steps), steps)
    assert torch.equal(on_grid(0.99 * steps[1:]), steps[:-1])
