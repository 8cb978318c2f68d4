"""The search for settings that an estimate can be trusted with: trials within a budget, each as the last one asks."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from llc_lightning.llc.calibrate.checks import ESS, Checks, mixed, not_tried, passed, unchanged
from llc_lightning.llc.calibrate.choices import Choice
from llc_lightning.llc.diagnostics.batch_noise import NOISE_SHARE
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.status import explain, is_ok, split

_TIMES = 3.0
"""By how much gamma is raised or n_beta lowered."""
_COARSEST = 10.0
"""Times the first gamma / n_beta: coarser ones are not tried for w* to count as a minimum."""
_SMALLEST_FRACTION = 0.02
_EFFECTIVE = 2 * ESS
"""Draws at which R-hat is mostly below its limit too."""
_ALLOWED_NOISE, _MUCH_NOISE = 0.8 * NOISE_SHARE, 0.4 * NOISE_SHARE
_MOST_BATCHES, _LARGEST_BATCH = 16, 512
"""Times the examples per step, at once; and how many there may be before the step gets smaller instead."""
_WITH_CHECKS = 5
"""How much dearer a trial is with its two checks, which are twice as long each."""
_HOPELESS = ("nan-loss", "frozen", "error", "saturated")
"""Reasons that no choice of a sampler's settings takes away."""


@dataclass(frozen=True)
class Calibration:
    """The outcome: what to use, the estimate made with it, and whether it meets every demand.

    ``refusal`` is '' where it does, and else one sentence with the cause. ``trials`` are all estimates on the way.
    ``steps`` counts the steps of all chains together, ``budget`` how many there could be.
    """

    choice: Choice
    record: LLCRecord
    checks: Checks
    refusal: str
    trials: tuple[LLCRecord, ...]
    steps: int
    budget: int

    @property
    def accepted(self) -> bool:
        """Whether every demand is met."""
        return not self.refusal


@dataclass(frozen=True)
class Free:
    """What the search may choose."""

    n_beta: bool
    gamma: bool
    batch_size: bool = False


class Search:
    """Trials within a budget."""

    def __init__(
        self,
        estimate: Callable[[Choice], LLCRecord],
        first: Choice,
        free: Free,
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
            checks, better = mixed(record), None
            if not passed(checks):
                better, wrong = self._better(choice, record), record
            else:
                checks, better, wrong = self._stable(choice, record, checks)
                if passed(checks):
                    return self._outcome(choice, record, checks, "")
            if better is None:
                return self._outcome(choice, record, checks, _cause(wrong))
            if not self._affords(better.cost):
                return self._outcome(choice, record, checks, f"the budget of {self._budget} steps ended first")
            choice = better

    def _stable(self, choice: Choice, record: LLCRecord, checks: Checks) -> tuple[Checks, Choice | None, LLCRecord]:
        """Returns the checks with those of half the step and twice the length, what to try if one fails, and why."""
        longer, finer = choice.longer(), choice.finer()
        half, twice = longer.at_step(record.step_size / 2), longer.at_step(record.step_size)
        for name, other, remedy in (("half step", half, finer), ("twice as long", twice, longer)):
            if not self._affords(other.cost):
                return (*checks, not_tried(name, self._tolerance)), remedy, record
            check = self._try(other, name)
            checks = (*checks, *unchanged(name, record, check, self._tolerance))
            if not passed(checks):
                return checks, remedy if is_ok(check.status) else self._better(choice, check), check
        return checks, None, record

    def _better(self, choice: Choice, record: LLCRecord) -> Choice | None:
        """Returns what the status of a trial asks for, or None where no choice helps."""
        # In the order in which the reasons make each other: what died tells nothing of where it went, and what left the
        # neighbourhood nothing of the minimum; only chains that are sound otherwise are worth their length.
        wrong = {reason.name for reason in split(record.status)}
        finer = choice.finer() if choice.settings.fraction > _SMALLEST_FRACTION else None
        if wrong & {"all-diverged", "diverged"}:
            return finer
        if "not-local" in wrong:
            return choice.tighter(_TIMES) if self._free.gamma else None
        if wrong & set(_HOPELESS):
            return None
        if "not-a-minimum" in wrong:
            return self._coarser(choice)
        larger = self._free.batch_size and (choice.settings.batch_size or math.inf) < _LARGEST_BATCH
        if "batch-noise" in wrong:
            if not larger:
                return finer
            quieter = self._quieter(choice, record)
            return quieter if passed(mixed(record)[:2]) else self._longer(quieter, record)
        hot = "estimators-disagree" in wrong and not record.temperature < 1
        if hot or wrong & {"step-bias", "unstable-step"}:
            # Heat is that of the steps and of minibatches together; larger ones cost no budget.
            noisy = record.noise_bias > _MUCH_NOISE * abs(record.value - record.noise_bias)
            return self._quieter(choice, record) if larger and noisy else finer
        return self._longer(choice, record)

    def _longer(self, choice: Choice, record: LLCRecord) -> Choice:
        """Returns a choice that mixes better: longer, or more localised where the budget has no room for the length."""
        longer, settings = choice.longer(), choice.settings
        needed = record.autocorrelation_time * _EFFECTIVE / settings.chains  # draws of a chain; NaN where not known
        if needed > longer.settings.draws:
            longer = longer.longer()
        share = max(1.0, needed / longer.settings.draws)
        room = self._affords(round(_WITH_CHECKS * share * longer.cost))
        at = choice.resolution
        # Beyond the largest curvature all directions relax alike, and a stronger localisation mixes no better.
        helps = self._free.gamma and at.gamma < at.n_beta * record.curvature
        return longer if room or not helps else choice.tighter(_TIMES)

    def _quieter(self, choice: Choice, record: LLCRecord) -> Choice:
        """Returns larger batches, as large as the noise of these makes necessary."""
        allowed = _ALLOWED_NOISE * abs(record.value - record.noise_bias)
        times = 2
        while times * allowed < record.noise_bias and times < _MOST_BATCHES:
            times *= 2
        return choice.larger_batches(times, record.n_examples)

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
        self._steps += choice.cost
        if self._done is not None:
            self._done(choice.cost, note)
        return record

    def _outcome(self, choice: Choice, record: LLCRecord, checks: Checks, cause: str) -> Calibration:
        missed = [check.said for check in checks if not check.passed]
        refusal = f"not reached: {'; '.join([*missed, cause])}." if cause else ""
        return Calibration(choice, record, checks, refusal, tuple(self._trials), self._steps, self._budget)


def _cause(record: LLCRecord) -> str:
    """Returns the sentences of the reasons that stay."""
    return "; ".join(sentence.rstrip(".") for sentence in explain(record.status))
