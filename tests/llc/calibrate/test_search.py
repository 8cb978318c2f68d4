"""What the search for settings tries next, told by trials whose outcomes are written down here."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from llc_lightning.llc.calibrate.choices import Choice
from llc_lightning.llc.calibrate.search import Calibration, Free, Search
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Resolution
from tests.known_answers.losses import quadratic
from tests.llc.changed import changed

FIRST = Choice(Resolution(100.0, 2.0), ChainSettings(sampler="lm", step_fraction=0.4, chains=8, burn_in=100, draws=200))
OK = {"status": "ok", "value": 10.0}
NOISY = dataclasses.replace(FIRST, settings=dataclasses.replace(FIRST.settings, batch_size=8))
BOTH = Free(n_beta=True, gamma=True)


@pytest.fixture(scope="module")
def record() -> LLCRecord:
    """One that meets every demand by itself."""
    torch.set_num_threads(1)
    known = quadratic()
    some = estimate_llc(
        known.loss, known.params, known.data, n_beta=100.0, gamma=2.0, step_size=0.01, draws=4, burn_in=0
    )
    return changed(some, rhat=1.0, ess=1000.0, temperature=1.0, **OK)


class Trials:
    """Gives the outcomes in their order, the last one again and again, and keeps what was tried."""

    def __init__(self, record: LLCRecord, outcomes: Sequence[dict[str, object]]) -> None:
        self._record, self._outcomes = record, [*outcomes]
        self.tried: list[Choice] = []

    def __call__(self, choice: Choice) -> LLCRecord:
        self.tried.append(choice)
        outcome = self._outcomes[min(len(self.tried), len(self._outcomes)) - 1]
        return changed(self._record, settings=choice.settings, **outcome)


def search(
    record: LLCRecord, *outcomes: dict[str, object], free: Free = BOTH, budget: int = 200_000
) -> tuple[Calibration, list[Choice]]:
    trials = Trials(record, outcomes)
    told: list[int] = []
    found = Search(trials, FIRST, free, 0.05, budget, lambda steps, note: told.append(steps)).run()
    assert found.steps == sum(told) == sum(choice.cost for choice in trials.tried) <= budget
    assert len(found.trials) == len(trials.tried)
    assert found.accepted == (not found.refusal) == all(check.passed for check in found.checks)
    return found, trials.tried


def flagged(status: str, **more: object) -> dict[str, object]:
    return {**OK, "status": status, **more}


def test_what_is_fine_is_repeated_at_half_the_step_and_twice_the_length(record: LLCRecord) -> None:
    found, (first, half, twice) = search(record, OK)
    assert (found.choice, first) == (FIRST, FIRST)
    assert half.settings.step_size == record.step_size / 2
    assert twice.settings.step_size == record.step_size
    assert (half.settings.steps, twice.settings.steps) == (600, 600)
    assert found.record.status == "ok"


@pytest.mark.parametrize(
    ("wrong", "tried"),
    [
        (flagged("diverged"), FIRST.finer()),
        (flagged("all-diverged"), FIRST.finer()),
        (flagged("not-local"), FIRST.tighter(3.0)),
        (flagged("not-a-minimum"), FIRST.warmer(3.0)),
        (flagged("not-a-minimum+drifting"), FIRST.warmer(3.0)),
        (flagged("drifting"), FIRST.longer()),
        (flagged("not-mixed"), FIRST.longer()),
        (flagged("not-mixed", ess=50.0), FIRST.longer().longer()),
        (flagged("ok", rhat=1.02), FIRST.longer()),
        (flagged("ok", ess=300.0), FIRST.longer().longer()),
        (flagged("estimators-disagree", temperature=1.3), FIRST.finer()),
        (flagged("estimators-disagree", temperature=0.7), FIRST.longer()),
        (flagged("not-settled"), FIRST.longer()),
        (flagged("step-bias"), FIRST.finer()),
        (flagged("not-settled+step-bias"), FIRST.finer()),
        (flagged("unstable-step"), FIRST.finer()),
    ],
    ids=lambda value: "" if isinstance(value, Choice) else "-".join(str(one) for one in value.values()),
)
def test_what_is_wrong_decides_what_is_tried_next(record: LLCRecord, wrong: dict[str, object], tried: Choice) -> None:
    found, choices = search(record, wrong, OK)
    assert choices[1] == tried == found.choice
    assert found.accepted


@pytest.mark.parametrize(
    ("wrong", "tried"),
    [
        (flagged("batch-noise", noise_bias=0.9), NOISY.larger_batches(4, 10_000)),  # 0.9 / (0.04 * 9.1)
        (flagged("batch-noise", noise_bias=5.0), NOISY.larger_batches(16, 10_000)),
        (flagged("step-bias", noise_bias=0.3), NOISY.larger_batches(2, 10_000)),
        (flagged("batch-noise", noise_bias=5.0, n_examples=100), NOISY.larger_batches(16, 100)),
        (
            flagged("not-mixed+batch-noise", noise_bias=0.9, ess=300.0),
            NOISY.larger_batches(4, 10_000).longer().longer(),
        ),
    ],
)
def test_noise_asks_for_larger_batches_or_if_they_are_given_for_a_finer_step(
    record: LLCRecord, wrong: dict[str, object], tried: Choice
) -> None:
    wrong = {"n_examples": 10_000, **wrong}
    free = Free(n_beta=True, gamma=True, batch_size=True)
    trials = Trials(record, [wrong, OK])
    assert Search(trials, NOISY, free, 0.05, 200_000, None).run().choice == trials.tried[1] == tried
    assert search(record, wrong)[1][1] == FIRST.finer()


def test_a_change_at_half_the_step_asks_for_a_finer_one_and_one_at_twice_the_length_for_a_longer(
    record: LLCRecord,
) -> None:
    away = flagged("ok", value=10.6)
    assert search(record, OK, away, OK)[0].choice == FIRST.finer()
    assert search(record, OK, OK, away, OK)[0].choice == FIRST.longer()
    assert search(record, OK, flagged("ok", value=10.4))[0].choice == FIRST


def test_a_check_with_a_fault_of_its_own_vouches_for_nothing(record: LLCRecord) -> None:
    assert search(record, OK, flagged("drifting"), OK)[0].choice == FIRST.longer()
    assert search(record, OK, OK, flagged("not-a-minimum"), OK)[0].choice == FIRST.warmer(3.0)


def test_what_is_given_is_kept(record: LLCRecord) -> None:
    given = Free(n_beta=False, gamma=False)
    for status in ("not-local", "not-a-minimum"):
        found, tried = search(record, flagged(status), free=given)
        assert (len(tried), found.accepted) == (1, False)
        assert f"{status}: " in found.refusal
    assert search(record, flagged("not-a-minimum"), OK, free=Free(n_beta=False, gamma=True))[0].choice == FIRST.tighter(
        3.0
    )


@pytest.mark.parametrize("status", ["nan-loss", "frozen", "saturated"])
def test_what_no_setting_mends_is_refused_at_once_with_its_sentence(record: LLCRecord, status: str) -> None:
    found, tried = search(record, flagged(status))
    assert len(tried) == 1
    assert f"; {status}: " in found.refusal


def test_a_point_that_is_never_a_minimum_is_refused_with_that_cause(record: LLCRecord) -> None:
    found, tried = search(record, flagged("not-a-minimum"))
    assert 3 < len(tried) < 6
    assert "not-a-minimum: the weights are not near a minimum" in found.refusal


def test_a_budget_that_ends_is_named_and_before_that_gamma_is_raised(record: LLCRecord) -> None:
    found, tried = search(record, flagged("not-mixed"), budget=40_000)
    assert "the budget of 40000 steps ended first" in found.refusal
    assert tried[1] == FIRST.longer()
    assert tried[-1].resolution.gamma > FIRST.resolution.gamma
    found, tried = search(record, flagged("not-mixed"), budget=40_000, free=Free(n_beta=False, gamma=False))
    assert tried == [FIRST, FIRST.longer(), FIRST.longer().longer(), FIRST.longer().longer().longer()]
    assert "the status is not-mixed" in found.refusal


def test_a_length_that_the_budget_has_no_room_for_makes_gamma_rise_at_once(record: LLCRecord) -> None:
    slow = flagged("not-mixed", ess=20.0)  # of 1600: it would take 8000 draws of a chain
    assert search(record, slow, OK, budget=600_000)[0].choice == FIRST.longer().longer()
    assert search(record, slow, OK, budget=100_000)[0].choice == FIRST.tighter(3.0)
    given = Free(n_beta=True, gamma=False)
    assert search(record, slow, OK, budget=100_000, free=given)[0].choice == FIRST.longer().longer()


def test_checks_beyond_the_budget_are_not_met(record: LLCRecord) -> None:
    found, tried = search(record, OK, budget=4000)
    assert len(tried) == 1
    assert found.refusal == "not reached: the change at half step is not known; the budget of 4000 steps ended first."
