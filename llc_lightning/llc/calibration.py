"""Chooses how to run chains at a checkpoint that nothing is known of, and says whether the choice can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from llc_lightning.llc.choices import Choice, first_choice
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.parts import Part
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import check_count, check_positive
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.status import REASONS, split
from llc_lightning.runtime.types import Batch, LossFn, Params

RHAT, ESS = 1.01, 400.0
_RAISE_GAMMA = 3.0
_SMALLEST_FRACTION = 0.02
_HOPELESS = ("nan-loss", "frozen", "error", "not-a-minimum", "saturated")
"""Reasons that no choice of a sampler's settings takes away."""


@dataclass(frozen=True)
class Check:
    """One demand on a calibrated estimate, and how it was met."""

    name: str
    value: float
    limit: float
    passed: bool


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
    largest curvature. Then, as the status of each trial asks: gamma is raised while chains leave the neighbourhood, the
    fraction is halved while they are too hot, and the length doubled while they have not mixed. What passes is repeated
    at half the step and at twice the length.

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
    search = _Search(loss_fn, params, data, moved, budget, seed, trivial_loss, done or (lambda steps, note: None))
    choice = first_choice(
        loss_fn, params, data, n_beta=n_beta, gamma=gamma, sampler=sampler, chains=chains, batch_size=batch_size,
        moved=moved, budget=budget, seed=seed,
    )  # fmt: skip
    if search.cost(choice) > budget:
        raise SettingError(
            f"budget is {budget} steps, and the first trial alone takes {search.cost(choice)}; give more, or fewer "
            "chains."
        )
    return search.run(choice, tolerance, free_gamma=gamma is None)


class _Search:
    """Trials within a budget."""

    def __init__(
        self,
        loss_fn: LossFn,
        params: Params,
        data: Batch,
        moved: Mapping[str, Tensor] | None,
        budget: int,
        seed: int,
        trivial_loss: float | None,
        done: Callable[[int, str], object],
    ) -> None:
        self._loss_fn, self._params, self._data = loss_fn, params, data
        self._part = Part(moved, whole=moved is None)
        self._budget, self._seed, self._trivial_loss, self._done = budget, seed, trivial_loss, done
        self._trials: list[LLCRecord] = []
        self._steps = 0

    def cost(self, choice: Choice) -> int:
        """Returns the steps of all chains of a trial."""
        return choice.settings.chains * choice.settings.steps

    def run(self, choice: Choice, tolerance: float, *, free_gamma: bool) -> Calibration:
        """Returns what the trials come to."""
        while True:
            record = self._try(choice, "mixing and locality")
            checks = _checks(record)
            better = None if all(check.passed for check in checks) else _better(choice, record, free_gamma=free_gamma)
            if better is None and all(check.passed for check in checks):
                checks, better = self._stable(choice, record, checks, tolerance)
                if better is None:
                    return self._outcome(choice, record, checks, "")
            if better is None:
                return self._outcome(choice, record, checks, _cause(record))
            if self._steps + self.cost(better) > self._budget:
                return self._outcome(choice, record, checks, f"the budget of {self._budget} steps ended first")
            choice = better

    def _stable(
        self, choice: Choice, record: LLCRecord, checks: tuple[Check, ...], tolerance: float
    ) -> tuple[tuple[Check, ...], Choice | None]:
        """Returns the checks with those of half the step and twice the length, and what to try if one fails."""
        longer = choice.longer()
        half = replace(longer, settings=replace(longer.settings, step_size=record.step_size / 2))
        twice = replace(longer, settings=replace(longer.settings, step_size=record.step_size))
        for name, other, remedy in (("half step", half, choice.finer()), ("twice as long", twice, longer)):
            if self._steps + self.cost(other) > self._budget:
                return (*checks, Check(f"change at {name}", math.nan, tolerance, False)), remedy
            value = self._try(other, name).value
            change = abs(value - record.value) / abs(record.value) if record.value else math.inf
            passed = change <= tolerance
            checks = (*checks, Check(f"change at {name}", change, tolerance, passed))
            if not passed:
                return checks, remedy
        return checks, None

    def _try(self, choice: Choice, note: str) -> LLCRecord:
        record = estimate_parts(
            self._loss_fn, self._params, self._data, [self._part], [choice.resolution], choice.settings,
            seed=self._seed, trivial_loss=self._trivial_loss,
        )[0][0]  # fmt: skip
        self._trials.append(record)
        self._steps += self.cost(choice)
        self._done(self.cost(choice), note)
        return record

    def _outcome(self, choice: Choice, record: LLCRecord, checks: tuple[Check, ...], cause: str) -> Calibration:
        missed = [f"{check.name} is {check.value:.3g}, not {check.limit:.3g}" for check in checks if not check.passed]
        refusal = f"not reached: {'; '.join([*missed, cause])}." if cause else ""
        return Calibration(choice, record, checks, refusal, tuple(self._trials), self._steps, self._budget)


def _checks(record: LLCRecord) -> tuple[Check, ...]:
    """Returns the demands on one estimate by itself."""
    wrong = [reason.name for reason in split(record.status)]
    return (
        Check("R-hat", record.rhat, RHAT, record.rhat < RHAT),
        Check("ESS", record.ess, ESS, record.ess >= ESS),
        Check("reasons against it", float(len(wrong)), 0.0, not wrong),
    )


def _better(choice: Choice, record: LLCRecord, *, free_gamma: bool) -> Choice | None:
    """Returns what the status of a trial asks for, or None where no choice helps."""
    wrong = {reason.name for reason in split(record.status)}
    if wrong & {"all-diverged", "diverged"}:
        return choice.finer() if choice.settings.step_fraction > _SMALLEST_FRACTION else None
    if "not-local" in wrong:
        return choice.tighter(_RAISE_GAMMA) if free_gamma else None
    if wrong & set(_HOPELESS):
        return None
    if "estimators-disagree" in wrong and not record.temperature < 1:
        return choice.finer() if choice.settings.step_fraction > _SMALLEST_FRACTION else None
    return choice.longer()


def _cause(record: LLCRecord) -> str:
    """Returns the sentences of the reasons that stay."""
    wrong = {reason.name for reason in split(record.status)}
    return "; ".join(f"{each.name}: {each.sentence.rstrip('.')}" for each in REASONS if each.name in wrong)
