"""Chooses how to run chains at a checkpoint that nothing is known of, and says whether the choice can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from llc_lightning.llc.choices import Choice, first_choice
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.inputs import check_inputs
from llc_lightning.llc.parts import Part
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import check_count, check_positive
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.status import explain, is_ok, split
from llc_lightning.runtime.types import Batch, LossFn, Params

RHAT, ESS = 1.01, 400.0
_TIMES = 3.0
"""By how much gamma is raised or n_beta lowered."""
_COARSEST = 10.0
"""Times the first gamma / n_beta: coarser ones are not tried for w* to count as a minimum."""
_SMALLEST_FRACTION = 0.02
_HOPELESS = ("nan-loss", "frozen", "error", "saturated")
"""Reasons that no choice of a sampler's settings takes away."""


@dataclass(frozen=True)
class Check:
    """One demand on a calibrated estimate, and how it was met."""

    name: str
    value: float
    limit: float
    passed: bool


Checks: TypeAlias = tuple[Check, ...]


@dataclass(frozen=True)
class Calibration:
    """The outcome: what to use, the estimate made with it, and whether it meets every demand.

    ``refusal`` is '' where it does, and else one sentence with the cause. ``trials`` are all estimates on the way.
    ``steps`` counts the steps of all chains together, ``budget`` how many there could be.
    """

    choice: Choice
    record: LLCRecord
    checks: tuple[Check, ...]
    refusal: str
    trials: tuple[LLCRecord, ...]
    steps: int
    budget: int

    @property
    def accepted(self) -> bool:
        """Whether every demand is met."""
        return not self.refusal


def calibrate(
    loss_fn: LossFn,
    params: Params,
    data: Batch,
    *,
    n_beta: float | None = None,
    gamma: float | None = None,
    sampler: str = "lm",
    chains: int = 8,
    batch_size: int | None = 128,
    moved: Mapping[str, Tensor] | None = None,
    tolerance: float = 0.05,
    budget: int = 200_000,
    seed: int = 0,
    trivial_loss: float | None = None,
    done: Callable[[int, str], object] | None = None,
) -> Calibration:
    """Returns settings whose estimate mixes, stays local, and changes little at half the step or twice the length.

    n_beta and gamma are those of :func:`first_choice` where they are not given, the step size a fraction of the inverse
    largest curvature. Then, as the status of each trial asks: gamma is raised while chains leave the neighbourhood,
    n_beta is lowered (or gamma raised, if n_beta is given) while w* is too far from a minimum for it, the fraction is
    halved while chains are too hot, and the length doubled while they have not mixed. What passes is repeated at half
    the step and at twice the length, each of which must be without fault itself.

    Args:
        loss_fn: The loss per example.
        params: w*.
        data: The examples.
        n_beta: Inverse temperature times sample size, kept as given.
        gamma: Localisation, kept as given.
        sampler: Name of the sampler.
        chains: Number of chains.
        batch_size: Examples per step; all where there are fewer, or for None.
        moved: Masks by parameter name; None moves everything.
        tolerance: By how much of itself the estimate may change.
        budget: Steps of all chains together, trials and checks included.
        seed: Keys all random streams.
        trivial_loss: Loss of the trivial predictor, to judge whether the chains stayed local.
        done: Called after every trial with its steps and a note on what is tried.

    Raises:
        SettingError: If a setting is out of range, or n_beta is missing for too few examples.
    """
    check_positive("tolerance", tolerance)
    check_count("budget", budget, 1)
    check_count("chains", chains, 2)
    check_inputs(loss_fn, params, moved=moved, seed=seed, replicate=0, trivial_loss=trivial_loss)
    if n_beta is not None:
        check_positive("n_beta", n_beta)
    if gamma is not None:
        check_positive("gamma", gamma, zero=True)
    first = first_choice(
        loss_fn, params, data, n_beta=n_beta, gamma=gamma, sampler=sampler, chains=chains, batch_size=batch_size,
        moved=moved, budget=budget, seed=seed,
    )  # fmt: skip
    if _cost(first) > budget:
        raise SettingError(
            f"budget is {budget} steps, and the first trial alone takes {_cost(first)}; give more, or fewer chains."
        )
    part = Part(moved, whole=moved is None)

    def estimate(choice: Choice) -> LLCRecord:
        return estimate_parts(
            loss_fn, params, data, [part], [choice.resolution], choice.settings, seed=seed, trivial_loss=trivial_loss
        )[0][0]

    search = _Search(estimate, first, _Free(n_beta is None, gamma is None), tolerance, budget, done)
    return search.run()


@dataclass(frozen=True)
class _Free:
    """What the search may choose."""

    n_beta: bool
    gamma: bool


class _Search:
    """Trials within a budget."""

    def __init__(
        self,
        estimate: Callable[[Choice], LLCRecord],
        first: Choice,
        free: _Free,
        tolerance: float,
        budget: int,
        done: Callable[[int, str], object] | None,
    ) -> None:
        self._estimate, self._first, self._free, self._tolerance = estimate, first, free, tolerance
        self._budget, self._done = budget, done
        self._trials: list[LLCRecord] = []
        self._steps = 0

    def run(self) -> Calibration:
        """Returns what the trials come to."""
        choice = self._first
        while True:
            record = self._try(choice, "mixing and locality")
            checks, better = _mixed(record), None
            if not _passed(checks):
                better, wrong = self._better(choice, record), record
            else:
                checks, better, wrong = self._stable(choice, record, checks)
                if _passed(checks):
                    return self._outcome(choice, record, checks, "")
            if better is None:
                return self._outcome(choice, record, checks, _cause(wrong))
            if not self._affords(_cost(better)):
                return self._outcome(choice, record, checks, f"the budget of {self._budget} steps ended first")
            choice = better

    def _stable(self, choice: Choice, record: LLCRecord, checks: Checks) -> tuple[Checks, Choice | None, LLCRecord]:
        """Returns the checks with those of half the step and twice the length, what to try if one fails, and why."""
        longer, finer = choice.longer(), choice.finer()
        half, twice = longer.at_step(record.step_size / 2), longer.at_step(record.step_size)
        for name, other, remedy in (("half step", half, finer), ("twice as long", twice, longer)):
            if not self._affords(_cost(other)):
                return (*checks, Check(f"change at {name}", math.nan, self._tolerance, False)), remedy, record
            found = self._try(other, name)
            checks = (*checks, *_unchanged(name, record, found, self._tolerance))
            if not _passed(checks):
                return checks, remedy if is_ok(found.status) else self._better(choice, found), found
        return checks, None, record

    def _better(self, choice: Choice, record: LLCRecord) -> Choice | None:
        """Returns what the status of a trial asks for, or None where no choice helps."""
        wrong = {reason.name for reason in split(record.status)}
        finer = choice.finer() if choice.settings.step_fraction > _SMALLEST_FRACTION else None
        if wrong & {"all-diverged", "diverged"}:
            return finer
        if "not-local" in wrong:
            return choice.tighter(_TIMES) if self._free.gamma else None
        if wrong & set(_HOPELESS):
            return None
        if "not-a-minimum" in wrong:
            return self._coarser(choice)
        if "estimators-disagree" in wrong and not record.temperature < 1:
            return finer
        longer = choice.longer()
        within = self._affords(_cost(longer) + 2 * _cost(longer.longer()))  # the checks are twice as long each
        return longer if within or not self._free.gamma else choice.tighter(_TIMES)

    def _coarser(self, choice: Choice) -> Choice | None:
        """Returns a resolution at which the slope at w* counts for less, within a bound of gamma / n_beta."""
        first, at = self._first.resolution, choice.resolution
        if at.gamma / at.n_beta > _COARSEST * first.gamma / first.n_beta:
            return None
        if self._free.n_beta:
            return choice.warmer(_TIMES)
        return choice.tighter(_TIMES) if self._free.gamma else None

    def _affords(self, steps: int) -> bool:
        return self._steps + steps <= self._budget

    def _try(self, choice: Choice, note: str) -> LLCRecord:
        record = self._estimate(choice)
        self._trials.append(record)
        self._steps += _cost(choice)
        if self._done is not None:
            self._done(_cost(choice), note)
        return record

    def _outcome(self, choice: Choice, record: LLCRecord, checks: Checks, cause: str) -> Calibration:
        missed = [f"{check.name} is {check.value:.3g}, not {check.limit:.3g}" for check in checks if not check.passed]
        refusal = f"not reached: {'; '.join([*missed, cause])}." if cause else ""
        return Calibration(choice, record, checks, refusal, tuple(self._trials), self._steps, self._budget)


def _cost(choice: Choice) -> int:
    """Returns the steps of all chains of a trial."""
    return choice.settings.chains * choice.settings.steps


def _mixed(record: LLCRecord) -> Checks:
    """Returns the demands on one estimate by itself."""
    return (
        Check("R-hat", record.rhat, RHAT, record.rhat < RHAT),
        Check("ESS", record.ess, ESS, record.ess >= ESS),
        _faultless("reasons against it", record),
    )


def _unchanged(name: str, record: LLCRecord, other: LLCRecord, tolerance: float) -> Checks:
    """Returns the demands on an estimate beside another one, which is to be as good and much the same."""
    change = abs(other.value - record.value) / abs(record.value) if record.value else abs(other.value)
    return (
        Check(f"change at {name}", change, tolerance, change <= tolerance),
        _faultless(f"reasons against it at {name}", other),
    )


def _faultless(name: str, record: LLCRecord) -> Check:
    reasons = len(split(record.status))
    return Check(name, float(reasons), 0.0, not reasons)


def _passed(checks: Checks) -> bool:
    return all(check.passed for check in checks)


def _cause(record: LLCRecord) -> str:
    """Returns the sentences of the reasons that stay."""
    return "; ".join(sentence.rstrip(".") for sentence in explain(record.status))
