"""Every sampler on every loss whose value is known exactly, in five repeats: within 3 standard errors of it.

The repeats are sets of 64 chains under one seed, run together, in place of five seeds: streams are keyed by the seed
and the number of the chain alike, so that sets are as independent as seeds, and take less than half of the time.
``test_quadratic`` and ``test_singular`` run under five seeds.

Where the bias of a finite step size has a formula, the value with its bias is met; else the values at a step and at
half of it are extrapolated to none, by the order of the sampler's bias. MALA has no bias at any step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from llc_lightning.exact import (
    normal_crossing_value,
    quadratic_lm_value,
    quadratic_sgld_value,
    quadratic_value,
    reduced_rank_value,
    unit_value,
)
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.sampling.base import SAMPLERS
from tests.known_answers.losses import (
    CURVATURE,
    Known,
    crossing,
    noisy_quadratic,
    quadratic,
    quartic,
    reduced_rank,
    rotated_quadratic,
    unit,
)
from tests.known_answers.repeats import CHAINS, REPEATS, values_and_errors, without_mixing  # noqa: F401 - a fixture

AT = {"n_beta": 100.0, "gamma": 10.0}
BATCH_SIZE, GRADIENT_NOISE = 8, 50.0
SPREAD = math.sqrt(GRADIENT_NOISE * BATCH_SIZE) / AT["n_beta"]
STEEP = tuple(10.0**-k for k in range(6))
ROUND = (1.0,) * 6
SPECTRA = {"three scales": CURVATURE, "six scales": STEEP, "round": ROUND}


@dataclass(frozen=True)
class Case:
    """A sampler on a loss, at a step size, and the value that it must meet."""

    known: Known
    exact: float
    sampler: str
    step_size: float
    burn_in: int = 150
    draws: int = 400
    batch_size: int | None = None
    extrapolated: bool = False
    preconditioner: str = "none"

    def estimates(self, *, halvings: int = 0) -> tuple[Tensor, Tensor]:
        """Returns values and errors of the repeats at the step size, or at half of it in twice the steps, and so on."""
        times = 2**halvings
        record = estimate_llc(
            self.known.loss, self.known.params, self.known.data, **AT, sampler=self.sampler,
            step_size=self.step_size / times, chains=REPEATS * CHAINS, burn_in=times * self.burn_in,
            draws=times * self.draws, batch_size=self.batch_size, preconditioner=self.preconditioner, seed=halvings,
            curvature_examples=1,
        )  # fmt: skip
        assert record.healthy_chains == REPEATS * CHAINS
        return values_and_errors(record)

    def values(self) -> tuple[Tensor, Tensor]:
        """Returns the repeats, without what the step size adds to them where that has no formula, and their errors."""
        whole, error = self.estimates()
        if not self.extrapolated:
            return whole, error
        (half, half_error), gain = self.estimates(halvings=1), 2 ** SAMPLERS.get(self.sampler).facts.order
        return (gain * half - whole) / (gain - 1), torch.hypot(gain * half_error, error) / (gain - 1)


CASES: dict[str, Case] = {}

for name, spectrum in SPECTRA.items():
    plain, known = {"curvature": spectrum, **AT}, quadratic(spectrum)
    for sampler in ("sgld", "sgld_cv"):
        CASES[f"{name}, {sampler}"] = Case(known, quadratic_sgld_value(**plain, step_size=0.01), sampler, 0.01)
    CASES[f"{name}, lm"] = Case(known, quadratic_lm_value(**plain, step_size=0.02), "lm", 0.02)
    CASES[f"{name}, mala"] = Case(known, quadratic_value(**plain), "mala", 0.02)
    CASES[f"{name}, sgnht"] = Case(known, quadratic_value(**plain), "sgnht", 0.02, draws=250, extrapolated=True)
    CASES[f"{name}, rmsprop_sgld"] = Case(
        known, quadratic_value(**plain), "rmsprop_sgld", 0.0005, burn_in=300, extrapolated=True
    )
for name, spectrum in (("three scales", CURVATURE), ("round", ROUND)):
    plain, known = {"curvature": spectrum, **AT}, noisy_quadratic(SPREAD, spectrum)
    noisy = {**plain, "step_size": 0.01, "gradient_noise": GRADIENT_NOISE}
    CASES[f"{name}, noise, sgld"] = Case(known, quadratic_sgld_value(**noisy), "sgld", 0.01, batch_size=BATCH_SIZE)
    CASES[f"{name}, noise, lm"] = Case(known, quadratic_lm_value(**noisy), "lm", 0.01, batch_size=BATCH_SIZE)
    # The noise is the same at w*, so that the control variate takes all of it away.
    without = quadratic_sgld_value(**plain, step_size=0.01)
    CASES[f"{name}, noise, sgld_cv"] = Case(known, without, "sgld_cv", 0.01, batch_size=BATCH_SIZE)
    CASES[f"{name}, noise, sgnht"] = Case(
        known, quadratic_value(**plain), "sgnht", 0.005, batch_size=BATCH_SIZE, extrapolated=True, burn_in=800
    )
    metric = [1 / (AT["n_beta"] * h + AT["gamma"]) for h in spectrum]
    for sampler, of in (("sgld", quadratic_sgld_value), ("lm", quadratic_lm_value)):
        exact = of(**plain, step_size=0.5, preconditioner=metric)
        CASES[f"{name}, preconditioned, {sampler}"] = Case(
            quadratic(spectrum), exact, sampler, 0.5, burn_in=50, draws=200, preconditioner="hutchinson"
        )
    CASES[f"{name}, preconditioned, mala"] = Case(
        quadratic(spectrum), quadratic_value(**plain), "mala", 0.5, 50, 200, preconditioner="hutchinson"
    )
ROTATED, HESSIAN, _ = rotated_quadratic(40, 13)
EIGENVALUES = torch.linalg.eigvalsh(HESSIAN).clamp(min=0).tolist()
CASES["rotated, sgld"] = Case(ROTATED, quadratic_sgld_value(EIGENVALUES, **AT, step_size=0.005), "sgld", 0.005, 250)
CASES["rotated, lm"] = Case(ROTATED, quadratic_lm_value(EIGENVALUES, **AT, step_size=0.005), "lm", 0.005, 250)
CASES["rotated, mala"] = Case(ROTATED, quadratic_value(EIGENVALUES, **AT), "mala", 0.005, 250)
CASES["rotated, sgnht"] = Case(ROTATED, quadratic_value(EIGENVALUES, **AT), "sgnht", 0.01, draws=250, extrapolated=True)

SINGULAR: dict[str, tuple[Known, float]] = {
    "w^4": (quartic(), normal_crossing_value((2,), **AT)),
    "(w1 w2)^2": (crossing(), normal_crossing_value((1, 1), **AT)),
    "reduced rank 2 1 2": (reduced_rank(2, 1, 2), reduced_rank_value(2, 1, 2, **AT)),
    "reduced rank 2 2 2": (reduced_rank(2, 2, 2), reduced_rank_value(2, 2, 2, **AT)),
    "reduced rank 3 2 3": (reduced_rank(3, 2, 3), reduced_rank_value(3, 2, 3, **AT)),
    "a unit of strength 0.3": (unit(4, 4, 0.3), unit_value(4, 4, strength=0.3, **AT)),
}
for name, (known, exact) in SINGULAR.items():
    CASES[f"{name}, mala"] = Case(known, exact, "mala", 0.01)
    for sampler in ("sgld", "lm", "sgnht"):
        CASES[f"{name}, {sampler}"] = Case(known, exact, sampler, 0.004, burn_in=200, draws=450, extrapolated=True)


def cases_of(sampler: str) -> dict[str, Case]:
    """Returns those that its facts alone give a sampler: the exact value, with the bias of its order taken off."""
    facts = SAMPLERS.get(sampler).facts
    step_size = 0.0005 if facts.adapts else 0.004
    losses = {"three scales": (quadratic(), quadratic_value(CURVATURE, **AT)), **SINGULAR}
    return {
        f"{name}, {sampler}": Case(known, exact, sampler, step_size, 300, 1000, extrapolated=facts.order > 0)
        for name, (known, exact) in losses.items()
    }


for sampler in set(SAMPLERS) - {case.sampler for case in CASES.values()}:
    CASES |= cases_of(sampler)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_there_are_at_least_sixty_cases_and_every_sampler_has_some() -> None:
    assert len(CASES) >= 60
    assert {case.sampler for case in CASES.values()} == set(SAMPLERS.names())


@pytest.mark.usefixtures("without_mixing")
@pytest.mark.parametrize("name", CASES)
def test_the_exact_value_in_five_repeats(name: str) -> None:
    exact = CASES[name].exact
    values, errors = CASES[name].values()
    away = (values - exact) / errors
    assert away.abs().max() <= 3, away
    pooled = errors.square().sum().sqrt() / REPEATS
    assert abs(values.mean() - exact) <= 3 * pooled, away
    assert pooled < 0.05 * exact


@pytest.mark.usefixtures("without_mixing")
@pytest.mark.parametrize("known_value", [(reduced_rank(2, 2, 2), (2, 2, 2)), (reduced_rank(3, 2, 3), (3, 2, 3))])
def test_averaged_noise_has_a_hundredth_of_bias_where_sgld_has_a_tenth(
    known_value: tuple[Known, tuple[int, int, int]],
) -> None:
    known, widths = known_value
    at = {"n_beta": 100.0, "gamma": 1.0}
    exact = reduced_rank_value(*widths, **at)
    estimates: dict[str, Callable[[], LLCRecord]] = {
        sampler: lambda sampler=sampler: estimate_llc(
            known.loss, known.params, known.data, **at, sampler=sampler, step_size=0.002, chains=512, burn_in=2000,
            draws=3500, curvature_examples=1,
        )
        for sampler in ("lm", "sgld")
    }  # fmt: skip
    averaged, plain = estimates["lm"](), estimates["sgld"]()
    for record in (averaged, plain):
        assert record.stderr < 0.006 * exact
    assert abs(averaged.value - exact) <= 0.01 * exact
    assert 0.08 * exact < plain.value - exact < 0.11 * exact


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("widths", [(2, 2, 2), (3, 2, 3)])
def test_averaged_noise_beyond_its_stability_is_flagged_every_time(widths: tuple[int, int, int], seed: int) -> None:
    known = reduced_rank(*widths)
    record = estimate_llc(
        known.loss, known.params, known.data, n_beta=100.0, gamma=1.0, sampler="lm", step_size=0.01, chains=64,
        burn_in=500, draws=1000, seed=seed, curvature_examples=1,
    )  # fmt: skip
    assert record.status != "ok"
