"""Keeps the measuring of a training within a share of its time."""

import time
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning as L

from llc_lightning.callbacks.folder import run_folder, writes
from llc_lightning.callbacks.frame import callbacks_of
from llc_lightning.callbacks.steps import moment_of, planned_steps
from llc_lightning.components.component import Component
from llc_lightning.components.loss import snapshot_params
from llc_lightning.measure.budget import SCREENED, Account, Costs, Kept, Purse, decide, screened
from llc_lightning.measure.cost import Clock, duration
from llc_lightning.measure.forecast import Guesses, RunsChains, rough
from llc_lightning.measure.measurements import Plan, components_at
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.left_out import read_left_out, write_left_out
from llc_lightning.results.run import Run
from llc_lightning.results.schema import RAW, Weights
from llc_lightning.results.snapshots import save_snapshot
from llc_lightning.runtime.batches import n_examples
from llc_lightning.runtime.cadence import Cadence, Moment
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.quarantine import quarantine

_COUNTED = 100_000
"""Steps of a training up to which the moments of a cadence are counted."""
_SETTLED = 10
"""Steps after which their time is known."""
_PRUDENT = 0.8
"""What the steps to come count: early ones can be slower, and so can the machine be."""
_OFTEN = 3
"""Times that a measurement passes over the examples and the weights besides, as a snapshot does once."""
_KEEPING = 0.2
"""Seconds that rows take to be written and drawn."""
_AGREEING = 1.5
"""Times that what is fixed takes where several processes measure at once, and tell one another that all is the same."""
_OF_A_PASS = 2 / 3
"""What a score of an edge is taken to take of a pass: layers before it are passed once for many, at first slowly."""
_SCREENING = 10
"""What the first screening of components is taken to take, in passes over the examples that it is done on."""
_MARGIN = 0.95
"""What of the budget is planned with."""
_IMPORTED = ("pyarrow.parquet", "pandas", "xarray", "zarr", "llc_lightning.report.tensorboard")
"""What the first measurement would import, which is no part of measuring."""


@runtime_checkable
class Measuring(Protocol):
    """A callback that measures."""

    name: str
    when: Cadence | None
    plan: Plan
    at: Any
    essential: bool
    """Whether what it measures first is left out last, at its last moment."""

    def tell(self, budget: "BudgetCallback", trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Tells a budget what it measures."""
        ...


class TrainingClock:
    """Tells how long a training takes beside what is measured in it, over all of its sessions.

    Args:
        now: What tells the seconds.
    """

    def __init__(self, now: Clock = time.perf_counter) -> None:
        self.now = now
        self.measuring = 0.0
        """Seconds of measuring so far."""
        self._before = 0.0
        self._began: float | None = None
        self._first: tuple[int, float] | None = None
        self._latest = (0, 0.0)
        self._shortest = float("inf")

    @property
    def training(self) -> float:
        """Seconds of training so far; not asked while something is measured."""
        return self._before + (0.0 if self._began is None else self.now() - self._began - self.measuring)

    def begin(self, *, training: float = 0.0, measuring: float = 0.0) -> None:
        """Starts, with what a session before has taken."""
        self._before, self.measuring = training, measuring
        self._began = self.now() - measuring

    def step(self, step: int) -> None:
        """Notes that a step is made."""
        now, (before, at) = self.training, self._latest
        if self._first is None:
            self._first = step, now
        elif step > before:
            self._shortest = min(self._shortest, (now - at) / (step - before))
        self._latest = step, now

    def settled(self, step: int) -> bool:
        """Says whether the time of a step is known well."""
        return self._first is not None and step - self._first[0] >= _SETTLED

    def until(self, step: int, end: int | None) -> float:
        """Returns how long the whole training will take, or has so far where that cannot be told."""
        now, each = self.training, self._shortest
        if self._first is not None and self.settled(step):
            each = (now - self._first[1]) / (step - self._first[0])
        return now if end is None or each == float("inf") else now + _PRUDENT * max(end - step, 0) * each


class BudgetCallback(L.Callback):
    """Keeps the time of all measuring of a training below a share of the time of the training itself.

    Where not everything fits, whole jobs are left out, never chains or draws: replicates first, then rungs of ladders
    (the highest), methods (the last), components (those on which the loss depends least by its gradient), moments; last
    of all the effects of ``zero`` at the last step. What is left out depends on the machine; a row that is kept is the
    row. What was is noted in ``left_out/``, with a snapshot of the step, and ``analyze.py measure`` fills it in later.

    What is due before two steps are made is always left out: nothing tells by then how long the training takes. Of
    weights that a callback averages (SWA, EMA) there is no snapshot: what is left out of those is told at once.

    The share is of the whole training where its length is known, else of the training so far. What is checked before
    the first step counts on neither side. Seconds are those of the first process: of its processor, where it trains on
    one, else of the clock.

    Args:
        share: Seconds of measuring for each second of training beside it; 0 measures nothing.
        clock: What tells the seconds, if not those.

    Raises:
        SettingError: If the share is negative or no number.
    """

    def __init__(self, share: float, *, clock: Clock | None = None) -> None:
        if not 0 <= share < float("inf"):
            raise SettingError(
                f"budget is {share}; give a share of the training's time, such as 0.1, or 0 for nothing."
            )
        self.share = share
        self._seconds = clock
        self.clock = TrainingClock()
        self.accounts: dict[str, Account] = {}
        self._earlier: dict[str, Any] = {}
        self._counted: dict[tuple[str, int], Sequence[int] | None] = {}
        self._left_something = False
        self._is_told = False

    def state_dict(self) -> dict[str, Any]:
        """Returns what was spent, and what measurements have cost."""
        costs = {name: dict(one.costs.points) for name, one in self.accounts.items()}
        moments = {name: [one.done, one.last] for name, one in self.accounts.items()}
        return {
            "training": self.clock.training,
            "measuring": self.clock.measuring,
            # What has not been measured again since it was loaded stays known.
            "costs": {**self._earlier.get("costs", {}), **costs},
            "moments": {**self._earlier.get("moments", {}), **moments},
            "left": self._left_something,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what was spent."""
        self._earlier = state_dict
        self._left_something = bool(state_dict.get("left", False))

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Imports what measuring needs, which is no part of it; forgets a training before.

        Raises:
            SettingError: If what is measured depends on what was measured before.
        """
        if stage != "fit":
            return
        # A checkpoint is loaded later.
        self.accounts, self._earlier, self._left_something = {}, {}, False
        warm = [one.name for one in _measuring(trainer) if getattr(one.plan, "warm_start", False)]
        if self.share and warm:
            raise SettingError(
                f"{warm[0]} has warm_start, so that its rows depend on those before, which a budget of {self.share:g} "
                "may leave out: set warm_start to false, or the budget to 0 and measure afterwards."
            )
        if self.share:
            with quarantine(pl_module):  # some draw random numbers
                for name in _IMPORTED:
                    import_module(name)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins to count."""
        # On the processor its own time, so that what else it does makes nothing long.
        cpu = trainer.strategy.root_device.type == "cpu"
        self.clock = TrainingClock(self._seconds or (time.process_time if cpu else time.perf_counter))
        self.clock.begin(**{name: float(self._earlier.get(name, 0.0)) for name in ("training", "measuring")})
        self._is_told = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes how long a step takes; says what is too long to be measured at all when that is known."""
        self.clock.step(trainer.global_step)
        if not self._is_told and self.clock.settled(trainer.global_step):
            self._is_told = True
            if trainer.is_global_zero and self.share:
                self._tell_too_short(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says what was spent and what was left out."""
        if writes(trainer):
            trainer.print(self.outcome(run_folder(trainer)))

    def outcome(self, folder: Path) -> str:
        """Returns what was spent and what was left out, in sentences."""
        training, measuring = max(self.clock.training, 1e-9), self.clock.measuring
        share = f"{measuring / training:.3f} of the {_seconds(training)} of training"
        left, asked, moments = Counter[str](), Counter[str](), Counter[str]()
        for record in read_left_out(folder):
            left[record["name"]] += record["left"]
            asked[record["name"]] += record["asked"]
            moments[record["name"]] += 1
        # Where nothing was to be measured, nobody has counted what it would have been.
        told = ", ".join(
            f"{left[name]:,} of {asked[name]:,} values of {name}"
            if asked[name]
            else f"{f'all {number} moments' if number > 1 else 'the only moment'} of {name}"
            for name, number in moments.items()
        )
        later = f"; left out: {told}; {call('analyze', 'measure', folder)} fills them in" if told else ""
        return f"budget {self.share:g}: measuring took {_seconds(measuring)}, {share}{later}"

    def prepare(self, callback: Measuring, take: Callable[[], Snapshot], *, processes: int = 1) -> None:
        """Learns what a callback measures, and guesses what that costs; ``take`` takes a snapshot."""
        started, components, costs, screening = self.clock.now(), list[Component](), Costs(_KEEPING, 0.0), 0.0
        # A loss raises what it likes; measuring meets it again, and tells it or skips it.
        with suppress(Exception):
            snapshot = take()
            taken = self.clock.now() - started
            components = components_at(callback.plan, snapshot)
            once, each, first = rough(callback.plan, snapshot)
            plan, n = callback.plan, n_examples(snapshot.data)
            chains = isinstance(plan, RunsChains)
            passed = 3 * n if chains else min(plan.examples or n, n)
            screening = _SCREENING * once * min(SCREENED, n) / passed
            if isinstance(plan, Guesses):
                weights = {name: snapshot.params[name] for name, _ in snapshot.loss.module.named_parameters()}
                each = plan.guessed(components, weights, passed, each)
            elif not chains:
                each *= _OF_A_PASS
            fixed = (_KEEPING + _OFTEN * taken + once) * (_AGREEING if processes > 1 else 1.0)
            costs = Costs(fixed, each, first)
        known: Mapping[Any, Any] = self._earlier.get("costs", {}).get(callback.name, {})
        costs.points |= {int(units): float(seconds) for units, seconds in known.items()}
        done, last = self._earlier.get("moments", {}).get(callback.name, (0, -1))
        self.accounts[callback.name] = Account(
            callback.plan, components, costs, callback.essential, done, last, screening
        )

    def decide(self, trainer: L.Trainer, callback: Measuring, moment: Moment, replicate: int) -> Kept | None:
        """Returns what is measured at a moment, None for nothing; for the first process to know."""
        if not self.share:
            return None
        account, end = self.accounts[callback.name], planned_steps(trainer)
        callbacks = [one for one in _measuring(trainer) if one.name in self.accounts]
        to_come = {one.name: self._to_come(one, moment, end) for one in callbacks}
        moments = self._moments(callback, end)
        ends = moment.event == "end" or (end is not None and moment.step >= end)
        last = ends or (bool(moments) and moment.step >= moments[-1])
        passed = bisect_right(moments, moment.step) / len(moments) if moments else moment.step / end if end else 1.0
        to_come[callback.name] = 1 if last else max(1, to_come[callback.name])
        account.last = moment.step
        whole = _MARGIN * self.share * self.clock.until(moment.step, end)
        kept = decide(callback.name, self.accounts, Purse(whole, self.clock.measuring, to_come, passed, last=last))
        # Replicates are the first to be left out: there are some where nothing else was.
        return None if replicate and (kept != account.whole or self._left_something) else kept

    def screen(self, name: str, plan: Plan, snapshot: Snapshot, kept: Kept) -> list[str]:
        """Returns the addresses of the components to measure, and learns what it takes a callback to choose them."""
        started, components = self.clock.now(), components_at(plan, snapshot)
        chosen = screened(snapshot, components, kept.components)
        if kept.components < len(components):
            self.accounts[name].screening = self.clock.now() - started
        return chosen

    def learn(self, callback: Measuring, kept: Kept, seconds: float) -> None:
        """Learns what a moment has cost at which all was measured that was to be."""
        account = self.accounts[callback.name]
        account.done += 1
        account.costs.see(account.units(kept), max(seconds - account.choosing(kept), 0.0))

    def note(
        self,
        trainer: L.Trainer,
        callback: Measuring,
        moment: Moment,
        part: str,
        kept: Kept | None,
        measured: list[str],
        *,
        weights: Weights,
    ) -> None:
        """Notes what is left out, and keeps trained weights to measure it on; on the first process.

        Of weights that a callback averages nothing is kept, and a warning is all that is left of it.
        """
        account = self.accounts.get(callback.name)
        if not writes(trainer) or (account and kept == account.whole):
            return
        plan = callback.plan.narrowed(kept.rungs, kept.methods) if kept else callback.plan
        components: Sequence[Component] = account.components if account else ()
        some = [component for component in components if component.address in measured]
        asked = account.asked if account else 0
        left = asked - len(plan.jobs(some, data=""))
        if kept and left <= 0:
            return
        self._left_something = True
        if weights != RAW:
            warnings.warn(
                f"{callback.name}: of the averaged weights of step {moment.step} {left or 'all'} values are left out, "
                "and no snapshot holds those weights to measure later; give a larger budget to have them.",
                stacklevel=1,
            )
            return
        folder = run_folder(trainer)
        what = {"name": callback.name, "step": moment.step, "left": left}
        why = {"methods": plan.breadth[1], "rungs": plan.breadth[0]} if kept else {"methods": 0, "rungs": 0}
        write_left_out(folder, part, **what, asked=asked, **why, components=measured)
        if moment.step not in Run(folder).snapshots:
            save_snapshot(folder, moment.step, snapshot_params(trainer.lightning_module), epoch=moment.epoch)

    def _to_come(self, callback: Measuring, moment: Moment, end: int | None) -> int:
        """Returns how many moments of a callback are still to come; about, where they follow epochs."""
        account, moments = self.accounts[callback.name], self._moments(callback, end)
        if moments is not None:
            return len(moments) - bisect_right(moments, max(account.last, moment.step - 1))
        if end is None:
            return int(account.last < moment.step)
        return round((account.done + 1) * (end - moment.step) / max(moment.step, 1))

    def _moments(self, callback: Measuring, end: int | None) -> Sequence[int] | None:
        """Returns the steps at which a callback is due, None where these are not known before."""
        if callback.when is None or end is None or end > _COUNTED or callback.at != "batch":
            return None
        if (callback.name, end) not in self._counted:
            self._counted[callback.name, end] = callback.when.moments(end)
        return self._counted[callback.name, end]

    def _tell_too_short(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says of which callbacks not even one value can be measured."""
        end = planned_steps(trainer)
        if end is None:
            return
        training, started = self.clock.until(trainer.global_step, end), self.clock.now()
        for callback in _measuring(trainer):
            if callback.name not in self.accounts:
                callback.tell(self, trainer, pl_module, moment_of(trainer, "step"))
        self.clock.measuring += self.clock.now() - started
        for name, account in self.accounts.items():
            seconds = account.seconds(account.least)
            if seconds > self.share * training and not account.done:
                warnings.warn(
                    f"{name}: one value takes about {_about(seconds)}, and {self.share:g} of this training of about "
                    f"{_about(training)} is {_about(self.share * training)}: none is measured. Give a larger "
                    "budget or a longer training, or measure afterwards with analyze.py measure.",
                    stacklevel=1,
                )


def _seconds(seconds: float) -> str:
    """Returns a time that is compared with another.

    Example:
        >>> _seconds(0.0148), _seconds(6.04), _seconds(124.2)
        ('0.015 s', '6.0 s', '124.2 s')
    """
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"


def _about(seconds: float) -> str:
    return f"{seconds:.1g} s" if seconds < 1 else duration(seconds)


def _measuring(trainer: L.Trainer) -> list[Measuring]:
    return [one for one in callbacks_of(trainer, Measuring) if one.when is not None]


def budget_of(trainer: L.Trainer) -> BudgetCallback | None:
    """Returns the budget of a training, None where it has none."""
    return next(iter(callbacks_of(trainer, BudgetCallback)), None)
