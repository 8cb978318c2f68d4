"""Calibration accepts what can be calibrated, and says why where it cannot."""

import dataclasses
from functools import cache

import pytest
import torch
from torch import Tensor

from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.exact import quadratic_value
from llc_lightning.llc.calibrate.calibration import calibrate
from llc_lightning.llc.calibrate.checks import ESS, RHAT
from llc_lightning.llc.calibrate.choices import first_choice
from llc_lightning.llc.calibrate.search import Calibration
from llc_lightning.llc.calibrate.sweep import Sweep, sweep, sweep_steps
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.report.calibration import title_of
from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.errors import SettingError
from tests.known_answers.losses import ONE_EXAMPLE, quadratic
from tests.llc.changed import changed

CURVATURE = (1.0, 1.0, 0.1, 0.1, 0.0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@cache
def regression(n: int = 800, d: int = 6) -> tuple[Params, tuple[Tensor, Tensor]]:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=draws)
    y = x.sum(1) + torch.randn(n, generator=draws)
    return {"w": torch.linalg.lstsq(x, y[:, None]).solution[:, 0]}, (x, y)


def squared(params: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    return (y - x @ params["w"]).square() / 2


@pytest.fixture(scope="module")
def accepted() -> Calibration:
    params, data = regression()
    return calibrate(squared, params, data, batch_size=None, seed=1)


def test_a_regular_model_is_accepted_with_half_its_dimension(accepted: Calibration) -> None:
    assert accepted.accepted
    assert accepted.refusal == ""
    assert [check.passed for check in accepted.checks] == [True] * 8
    assert (accepted.record.rhat < RHAT, accepted.record.ess >= ESS) == (True, True)
    assert accepted.choice.resolution.n_beta == pytest.approx(80)
    assert abs(accepted.record.value - 3.0) <= 0.05 * 3.0 + 3 * accepted.record.stderr
    assert accepted.steps <= accepted.budget


def test_its_options_are_those_of_an_estimate_and_give_the_same_value(accepted: Calibration) -> None:
    params, data = regression()
    again = estimate_llc(squared, params, data, **accepted.choice.options, seed=1)
    assert (again.value, again.step_size) == (accepted.record.value, accepted.record.step_size)
    assert LLCCallback(None, **accepted.choice.options).plan.settings == accepted.choice.settings


def test_the_sweep_holds_the_choice_and_its_steps_are_those_it_announces(accepted: Calibration) -> None:
    params, data = regression()
    settings = dataclasses.replace(accepted.choice.settings, burn_in=60, draws=200)
    chosen = dataclasses.replace(accepted, choice=dataclasses.replace(accepted.choice, settings=settings))
    told: list[int] = []
    swept = sweep(squared, params, data, chosen, seed=1, done=lambda steps, note: told.append(steps))
    assert sum(told) == sweep_steps(chosen) < chosen.budget
    assert accepted.record.step_size in [record.step_size for record in swept.over_steps]
    assert accepted.choice.resolution.n_beta in [record.n_beta for record in swept.over_n_beta]
    acceptances = [round(share, 6) for share in swept.acceptances]  # as far as single precision tells
    assert acceptances == sorted(acceptances, reverse=True)
    assert swept.plateaus
    assert swept.sentence.startswith("plateau: |d ln LLC / d ln n_beta| is below 0.1 from n_beta ")
    assert sweep_steps(dataclasses.replace(accepted, budget=40_000)) < 40_000 < sweep_steps(accepted)
    assert title_of(chosen, swept) == "Calibration of lm: accepted."
    assert f"with 200 draws a chain in place of {accepted.choice.settings.draws}." in title_of(accepted, swept)


def test_a_sweep_says_where_the_plateau_is_or_that_there_is_none(accepted: Calibration) -> None:
    def over(*outcomes: tuple[float, float, str]) -> str:
        rungs = (
            changed(accepted.record, n_beta=n_beta, value=value, status=status) for n_beta, value, status in outcomes
        )
        return Sweep((), (), tuple(rungs)).sentence

    ok = "ok"
    flat = over((1.0, 3.0, ok), (10.0, 3.1, ok), (100.0, 3.2, ok), (1e3, 9.0, ok), (1e4, 9.0, ok))
    assert "below 0.1 from n_beta 1 to 100, 1000 to 1e+04; quote a value from there" in flat
    rising = over((1.0, 3.0, ok), (10.0, 9.0, "not-mixed"), (100.0, 9.0, ok))
    assert "no plateau: from n_beta 1 to 100 the LLC goes from 3 to 9, nowhere with" in rising
    assert "quote it with both" in rising
    few = over((1.0, 3.0, "not-mixed"), (10.0, 9.0, ok))
    assert "no plateau can be seen: of 2 n_betas 1 gave an ok value" in few


def test_given_resolutions_are_kept() -> None:
    known, at = quadratic(CURVATURE), {"n_beta": 20.0, "gamma": 5.0}
    found = calibrate(known.loss, known.params, known.data, **at)
    assert (found.choice.resolution.n_beta, found.choice.resolution.gamma) == (20.0, 5.0)
    assert found.accepted
    exact = quadratic_value(CURVATURE, **at)
    assert abs(found.record.value - exact) <= 3 * found.record.stderr + 0.02 * exact


def test_a_checkpoint_that_is_no_minimum_is_refused_with_that_cause() -> None:
    params, data = regression()
    found = calibrate(squared, {"w": params["w"] + 0.5}, data, n_beta=400.0, gamma=10.0)
    assert not found.accepted
    assert "not-a-minimum: the weights are not near a minimum" in found.refusal
    assert len(found.trials) == 1


def test_weights_whose_loss_is_not_finite_are_refused_with_that_cause() -> None:
    params, data = regression()
    found = calibrate(squared, {"w": params["w"] * torch.nan}, data)
    assert "nan-loss: the loss at the measured weights is not finite" in found.refusal


def test_gamma_is_raised_until_the_chains_are_local() -> None:
    """A pit so narrow and shallow that the chains leave it, which its curvature does not tell."""

    def pit(params: Params, batch: Tensor) -> Tensor:
        return 1 - (-50 * (params["w"] - 1).square().sum()).exp() + 0 * batch

    found = calibrate(pit, {"w": torch.ones(4)}, ONE_EXAMPLE, n_beta=3.0, budget=12_000)
    gammas = [record.gamma for record in found.trials if "not-local" in record.status]
    assert gammas == pytest.approx([gammas[0] * 3**i for i in range(len(gammas))])
    assert "not-local" not in found.trials[len(gammas)].status


def test_the_first_choice_is_n_over_its_logarithm_and_local() -> None:
    params, data = regression(100_000)
    choice = first_choice(
        squared, params, data, n_beta=None, gamma=None, sampler="lm", preconditioner="none", chains=8,
        batch_size=128, moved=None, budget=200_000, seed=0,
    )  # fmt: skip
    assert choice.resolution.n_beta == pytest.approx(100_000 / torch.tensor(100_000.0).log().item())
    assert choice.resolution.gamma > 0


def test_a_preconditioner_can_be_asked_for() -> None:
    h = torch.tensor([1000.0, 1.0, 1.0, 1.0])

    def steep(params: Params, batch: Tensor) -> Tensor:
        return (h * params["w"].square()).sum() / 2 + 0 * batch

    at: dict[str, float] = {"n_beta": 100.0, "gamma": 1.0}
    found = calibrate(steep, {"w": torch.zeros(4)}, ONE_EXAMPLE, **at, preconditioner="hutchinson")
    assert found.accepted
    assert found.choice.options["preconditioner"] == "hutchinson"
    assert abs(found.record.value - quadratic_value(h.tolist(), **at)) < 3 * found.record.stderr


def test_gamma_is_not_raised_beyond_the_largest_curvature() -> None:
    known = quadratic(CURVATURE)
    found = calibrate(known.loss, known.params, known.data, n_beta=20.0, budget=20_000)
    assert max(record.gamma for record in found.trials) < 3 * 20.0 * max(CURVATURE)


def test_what_cannot_be_calibrated_is_said() -> None:
    known = quadratic(CURVATURE)
    with pytest.raises(SettingError, match=r"n_beta cannot be chosen from 1 examples; give it\."):
        calibrate(known.loss, known.params, known.data)
    with pytest.raises(SettingError, match=r"budget is 100 steps, and the first trial alone takes 2400; give more"):
        calibrate(known.loss, known.params, known.data, n_beta=10.0, budget=100)
    with pytest.raises(SettingError, match=r"tolerance is 0\.0; it must be positive\."):
        calibrate(known.loss, known.params, known.data, n_beta=10.0, tolerance=0.0)
