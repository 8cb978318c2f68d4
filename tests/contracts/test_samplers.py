"""What every registered sampler must do: each term of its step alone, its targets, and its order in the step size."""

import math

import pytest
import torch
from torch import Tensor

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.exact import quadratic_value
from llc_lightning.runtime.types import Params
from llc_lightning.sampling.base import SAMPLERS, Posterior
from llc_lightning.sampling.stacked import Stack

pytestmark = pytest.mark.parametrize("name", SAMPLERS.names())
N_BETA, GAMMA, STEP_SIZE = 7.0, 3.0, 0.01


@pytest.fixture(autouse=True)
def _one_thread(name: str) -> None:
    torch.set_num_threads(1)


def stack(value: float, chains: int = 2) -> Stack:
    """Returns two lanes of three weights, all of one value."""
    return {"w": torch.full((chains, 2, 3), value)}


def stepped(
    name: str, *, start: float, gradient: float, noise: float, gamma: float = 0.0, preconditioner: float | None = None
) -> Tensor:
    """Returns the weights after one step around a centre of 0."""
    posterior = Posterior(stack(0.0, 1), torch.full((2,), N_BETA), torch.full((2,), gamma))
    diagonal = None if preconditioner is None else stack(preconditioner, 1)
    sampler = SAMPLERS.get(name).item(posterior, torch.full((2,), STEP_SIZE), diagonal)
    position = stack(start)
    sampler.step(position, stack(gradient), lambda: {"w": torch.full((2, 1, 3), noise)})
    return position["w"]


def assert_all(values: Tensor, expected: float) -> None:
    assert torch.allclose(values, torch.full_like(values, expected), rtol=1e-6, atol=1e-9)


def test_without_any_force_nothing_moves(name: str) -> None:
    assert_all(stepped(name, start=0.5, gradient=0.0, noise=0.0), 0.5)


def test_drift_alone(name: str) -> None:
    assert_all(stepped(name, start=0.5, gradient=2.0, noise=0.0), 0.5 - STEP_SIZE / 2 * N_BETA * 2.0)


def test_noise_alone(name: str) -> None:
    assert_all(stepped(name, start=0.5, gradient=0.0, noise=1.5), 0.5 + math.sqrt(STEP_SIZE) * 1.5)


def test_localisation_alone(name: str) -> None:
    assert_all(stepped(name, start=0.5, gradient=0.0, noise=0.0, gamma=GAMMA), 0.5 - STEP_SIZE / 2 * GAMMA * 0.5)


def test_a_preconditioner_scales_the_step_size(name: str) -> None:
    moved = stepped(name, start=0.5, gradient=2.0, noise=1.5, gamma=GAMMA, preconditioner=4.0)
    step = 4.0 * STEP_SIZE
    assert_all(moved, 0.5 - step / 2 * (N_BETA * 2.0 + GAMMA * 0.5) + math.sqrt(step) * 1.5)


def quadratic(params: Params, batch: Tensor) -> Tensor:
    return params["w"].square().sum() / 2 + 0 * batch


def estimate(name: str, step_size: float, *, seed: int = 0, draws: int = 600, chains: int = 128) -> tuple[float, float]:
    record = estimate_llc(
        quadratic, {"w": torch.zeros(4)}, torch.zeros(1), n_beta=10.0, gamma=1.0, sampler=name, step_size=step_size,
        chains=chains, draws=draws, burn_in=100, seed=seed,
    )  # fmt: skip
    return record.value, record.stderr


def test_a_seed_fixes_every_draw(name: str) -> None:
    first, again, other = (estimate(name, 0.05, seed=seed, draws=20, chains=3) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_bias_is_at_most_of_first_order_in_the_step_size(name: str) -> None:
    exact = quadratic_value([1.0] * 4, n_beta=10.0, gamma=1.0)
    coarse, coarse_error = estimate(name, 0.04)
    fine, fine_error = estimate(name, 0.02)
    assert abs(2 * fine - coarse - exact) <= 3 * math.hypot(2 * fine_error, coarse_error) + 0.1 * abs(coarse - exact)
    assert abs(fine - exact) <= 0.6 * abs(coarse - exact) + 3 * math.hypot(fine_error, coarse_error)


def test_a_skewed_target(name: str) -> None:
    """A Gumbel-like loss, ``e^w - w - 1``: one weight, and a posterior with a long tail to the left."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        w = params["w"]
        return (w.exp() - w - 1).sum() + 0 * batch

    n_beta, gamma = 3.0, 0.5
    w = torch.linspace(-12, 5, 20_001, dtype=torch.float64)
    energy = n_beta * (w.exp() - w - 1)
    exact = (torch.softmax(-energy - gamma / 2 * w.square(), 0) * energy).sum().item()
    values = [
        estimate_llc(
            loss, {"w": torch.zeros(1)}, torch.zeros(1), n_beta=n_beta, gamma=gamma, sampler=name, step_size=step,
            chains=256, draws=500, burn_in=150,
        )
        for step in (0.08, 0.04)
    ]  # fmt: skip
    coarse, fine = values
    error = math.hypot(2 * fine.stderr, coarse.stderr)
    assert abs(2 * fine.value - coarse.value - exact) <= 3 * error
    assert error < 0.06 * exact


def test_frozen_weights_never_move(name: str) -> None:
    start = torch.arange(6.0).view(2, 3)
    mask = torch.tensor([[True, False, False], [False, True, False]])
    params = {"w": start, "v": torch.ones(2)}

    def free(params: Params, batch: Tensor) -> Tensor:
        return (params["w"] - start).square().sum() / 2 + 0 * batch

    def watched(params: Params, batch: Tensor) -> Tensor:
        strayed = torch.where(mask, 0.0, params["w"] - start).abs().sum() + (params["v"] - 1).abs().sum()
        return free(params, batch) + torch.where(strayed > 0, torch.nan, 0.0)

    plain, checked = (
        estimate_llc(
            loss, params, torch.zeros(1), n_beta=10.0, gamma=1.0, sampler=name, step_size=0.05, chains=2, draws=20,
            burn_in=0, moved={"w": mask},
        )
        for loss in (free, watched)
    )  # fmt: skip
    assert plain.dimension == 2
    assert plain.distance > 0
    assert checked.value == plain.value
    assert torch.equal(params["w"], torch.arange(6.0).view(2, 3))
