"""What every registered sampler must do: each term of its step alone, its targets, and its order in the step size."""

import math
from itertools import islice

import pytest
import torch
from torch import Tensor

from llc_lightning.exact import quadratic_value
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.types import Params
from llc_lightning.sampling.base import SAMPLERS, Evaluated, Posterior
from llc_lightning.sampling.stacked import Stack
from tests.sampling.reference import REFERENCE, Target

pytestmark = pytest.mark.parametrize("name", SAMPLERS.names())
N_BETA, STEP_SIZE, STEPS = 7.0, 0.01, 5
ONE_EXAMPLE = torch.zeros(1)


@pytest.fixture(autouse=True)
def _one_thread(name: str) -> None:
    torch.set_num_threads(1)


class Full:
    """A loss of every weight by itself, as a sampler sees it with the full batch."""

    minibatch = False

    def __init__(self, target: Target) -> None:
        self._target = target

    def __call__(self, position: Stack) -> Evaluated:
        w = position["w"]
        of_each = [[sum(self._target.loss(x) for x in lane) for lane in chain] for chain in w.tolist()]
        gradient = [[[self._target.gradient(x) for x in lane] for lane in chain] for chain in w.tolist()]
        return Evaluated(torch.tensor(of_each, dtype=w.dtype), {"w": torch.tensor(gradient, dtype=w.dtype)})

    def gradient_at_centre(self) -> Stack:
        raise AssertionError("the full batch needs no control variate")


class Fixed:
    """Noise that is known beforehand: ``scale (1 + t)`` at its t-th draw."""

    def __init__(self, scale: float, uniform: float) -> None:
        self._scale, self._uniform, self._drawn = scale, uniform, 0

    def normal(self) -> Stack:
        self._drawn += 1
        return {"w": torch.full((2, 1, 1), self._scale * self._drawn, dtype=torch.float64)}

    def uniform(self) -> Tensor:
        return torch.full((2, 1), self._uniform, dtype=torch.float64)


def trajectories(
    name: str, target: Target, *, scale: float, start: float = 0.5, diagonal: float | None = None, uniform: float = 0.5
) -> tuple[list[float], list[float]]:
    """Returns the sampler's first positions and those of the literal reference."""
    centre = {"w": torch.zeros(1, 2, 1, dtype=torch.float64)}
    n_beta, gamma, step = (torch.full((2,), x, dtype=torch.float64) for x in (target.n_beta, target.gamma, STEP_SIZE))
    preconditioner = None if diagonal is None else {"w": torch.full_like(centre["w"], diagonal)}
    sampler = SAMPLERS.get(name).item(Posterior(centre, n_beta, gamma, centre), step, preconditioner)
    position = {"w": torch.full((2, 2, 1), start, dtype=torch.float64)}
    noise, loss = Fixed(scale, uniform), Full(target)
    found = []
    for _ in range(STEPS):
        sampler.step(position, sampler.look(position, loss), loss, noise)
        assert bool((position["w"] == position["w"][0, 0, 0]).all())
        found.append(position["w"][0, 0, 0].item())
    eps = STEP_SIZE * (diagonal or 1.0)
    steps = REFERENCE[name](target, start, eps, lambda t: scale * (1 + t), uniform)
    return found, list(islice(steps, STEPS))


def free(x: float) -> float:
    return 0.0


def assert_equal(name: str, target: Target, **options: float) -> None:
    found, expected = trajectories(name, target, **options)
    assert found == pytest.approx(expected, rel=1e-9)


def test_without_any_force_or_noise_nothing_moves(name: str) -> None:
    found, _ = trajectories(name, Target(free, free, N_BETA, 0.0), scale=0.0)
    assert found == [0.5] * STEPS


def test_drift_alone(name: str) -> None:
    assert_equal(name, Target(lambda x: 2 * x, lambda x: 2.0, N_BETA, 0.0), scale=0.0)


def test_noise_alone(name: str) -> None:
    assert_equal(name, Target(free, free, N_BETA, 0.0), scale=0.3)


def test_localisation_alone(name: str) -> None:
    assert_equal(name, Target(free, free, N_BETA, 3.0), scale=0.0)


def test_all_terms_on_a_curved_loss(name: str) -> None:
    target = Target(lambda x: math.exp(x) - x, lambda x: math.exp(x) - 1, N_BETA, 3.0)
    assert_equal(name, target, scale=0.3)
    assert_equal(name, target, scale=-1.0, uniform=0.999)


def test_a_preconditioner_scales_the_step_size_or_is_refused(name: str) -> None:
    target = Target(lambda x: x * x, lambda x: 2 * x, N_BETA, 3.0)
    if SAMPLERS.get(name).facts.preconditioned:
        found, _ = trajectories(name, target, scale=0.3, diagonal=1.0)
        assert found == trajectories(name, target, scale=0.3)[0]
    if SAMPLERS.get(name).facts.preconditioned and name != "sgnht":  # whose masses change its own unit of time
        assert_equal(name, target, scale=0.3, diagonal=4.0)
    elif name != "sgnht":
        with pytest.raises(SettingError, match="finds a diagonal of its own; use none"):
            estimate(name, 0.05, preconditioner="hutchinson")


def quadratic(params: Params, batch: Tensor) -> Tensor:
    return params["w"].square().sum() / 2 + 0 * batch


def scale_of(name: str) -> float:
    """Returns the sampler's step size in units of SGLD's: RMSprop starts from a diagonal of 10."""
    return 0.3 if SAMPLERS.get(name).facts.adapts else 1.0


def estimate(name: str, step_size: float, **settings: object) -> LLCRecord:
    options = {"chains": 128, "draws": 600, "burn_in": 100, **settings}
    return estimate_llc(
        quadratic, {"w": torch.zeros(4)}, ONE_EXAMPLE, n_beta=10.0, gamma=1.0, sampler=name,
        step_size=step_size * scale_of(name), **options,
    )  # fmt: skip


@pytest.mark.parametrize("chains", [1, 3, 8])
def test_a_seed_fixes_every_draw_for_any_number_of_chains(name: str, chains: int) -> None:
    first, again, other = (estimate(name, 0.05, seed=seed, draws=20, chains=chains) for seed in (1, 1, 2))
    assert torch.equal(first.excess, again.excess)
    assert not torch.equal(first.excess, other.excess)
    more = estimate(name, 0.05, seed=1, draws=20, chains=chains + 1)
    assert torch.equal(more.excess[:chains], first.excess)


def test_the_bias_is_at_most_of_first_order_in_the_step_size(name: str) -> None:
    exact = quadratic_value([1.0] * 4, n_beta=10.0, gamma=1.0)
    coarse, fine = (estimate(name, step) for step in (0.04, 0.02))
    error = math.hypot(2 * fine.stderr, coarse.stderr)
    gone = abs(coarse.value - exact)
    assert abs(2 * fine.value - coarse.value - exact) <= 3 * error + 0.1 * gone
    assert abs(fine.value - exact) <= 0.6 * gone + 3 * math.hypot(fine.stderr, coarse.stderr)


def test_a_skewed_target(name: str) -> None:
    """A Gumbel-like loss, ``e^w - w - 1``: one weight, and a posterior with a long tail to the left."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        w = params["w"]
        return (w.exp() - w - 1).sum() + 0 * batch

    n_beta, gamma = 3.0, 0.5
    w = torch.linspace(-12, 5, 20_001, dtype=torch.float64)
    energy = n_beta * (w.exp() - w - 1)
    exact = (torch.softmax(-energy - gamma / 2 * w.square(), 0) * energy).sum().item()
    coarse, fine = [
        estimate_llc(
            loss, {"w": torch.zeros(1)}, ONE_EXAMPLE, n_beta=n_beta, gamma=gamma, sampler=name,
            step_size=step * scale_of(name), chains=256, draws=600, burn_in=150,
        )
        for step in (0.08, 0.04)
    ]  # fmt: skip
    error = math.hypot(2 * fine.stderr, coarse.stderr)
    assert abs(2 * fine.value - coarse.value - exact) <= 3 * error
    assert error < 0.06 * exact


def test_the_automatic_step_size_is_calm(name: str) -> None:
    record = estimate_llc(
        quadratic, {"w": torch.zeros(4)}, ONE_EXAMPLE, n_beta=10.0, gamma=1.0, sampler=name, chains=8, draws=1000
    )
    biased = SAMPLERS.get(name).facts.bias_known
    assert record.status == ("estimators-disagree" if biased else "ok"), "a tenth too high is told"
    assert abs(record.value - quadratic_value([1.0] * 4, n_beta=10.0, gamma=1.0)) < 0.15 * record.value


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
            loss, params, ONE_EXAMPLE, n_beta=10.0, gamma=1.0, sampler=name, step_size=0.05 * scale_of(name), chains=2,
            draws=20, burn_in=0, moved={"w": mask},
        )
        for loss in (free, watched)
    )  # fmt: skip
    assert plain.dimension == 2
    assert plain.distance > 0
    assert checked.value == plain.value
    assert torch.equal(params["w"], torch.arange(6.0).view(2, 3))


def test_minibatches_are_taken_or_refused(name: str) -> None:
    spread = torch.tensor([[1.0], [-1.0]]).repeat(8, 4)

    def noisy(params: Params, batch: Tensor) -> Tensor:
        return params["w"].square().sum() / 2 + batch @ params["w"]

    def run() -> LLCRecord:
        return estimate_llc(
            noisy, {"w": torch.zeros(4)}, spread, n_beta=10.0, gamma=1.0, sampler=name, step_size=0.02 * scale_of(name),
            chains=32, draws=400, burn_in=100, batch_size=4,
        )  # fmt: skip

    if SAMPLERS.get(name).facts.full_batch:
        with pytest.raises(SettingError, match="compares losses of the full batch; use null"):
            run()
    else:
        assert math.isfinite(run().value)
