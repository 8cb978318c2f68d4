"""What the measuring callbacks share: data, quarantine, sharing among ranks, and keeping what was measured."""

import time
import warnings
from collections.abc import Collection, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info

from llc_lightning.callbacks.budget import BudgetCallback, budget_of
from llc_lightning.callbacks.cadenced import At, CadencedCallback
from llc_lightning.callbacks.folder import open_folder, run_seed, writes
from llc_lightning.callbacks.frame import callbacks_of
from llc_lightning.callbacks.progress import progress_of
from llc_lightning.callbacks.steps import moment_of
from llc_lightning.components.loss import HasTasks, loss_fn
from llc_lightning.measure.budget import Kept
from llc_lightning.measure.cost import duration
from llc_lightning.measure.forecast import cost_told
from llc_lightning.measure.jobs import data_digest
from llc_lightning.measure.keep import keep, part_of
from llc_lightning.measure.measurements import MEASUREMENTS, Outcome, Plan, measure, measurement_of
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.measure.trial import trial
from llc_lightning.report.charts import Charts, layout, quantity_charts
from llc_lightning.results.run import run_name
from llc_lightning.results.schema import RAW, Row, Weights
from llc_lightning.runtime.batches import Batch, n_examples
from llc_lightning.runtime.cadence import Cadence, Moment
from llc_lightning.runtime.digest import tensor_digest
from llc_lightning.runtime.errors import LLCLightningError, LostError, MeasurementError, SettingError, at_least
from llc_lightning.runtime.quarantine import quarantine
from llc_lightning.runtime.registry import Registry
from llc_lightning.runtime.workers import Workers

_COUNTED = 100_000
"""Steps of a training of which those are counted that are measured."""
_LONG = 5.0
"""Seconds that a measurement takes before it is worth a word that it takes longer than the training between two."""
OnError: TypeAlias = Literal["raise", "skip"]


@runtime_checkable
class HasAnalysisSet(Protocol):
    """A datamodule with examples to measure on, the same whenever it is asked."""

    def analysis_set(self) -> Batch:
        """Returns the examples."""
        ...


class MeasurementCallback(CadencedCallback):
    """Measures at a cadence, without touching the training, and keeps the rows in the run folder.

    What is measured is a plan; how, and with which random numbers, follows from the plan, the
    weights, the data and the seed alone. The callback adds when, the quarantine of the live module, the sharing among
    ranks, and storing.

    Args:
        when: The cadence; None switches the callback off.
        plan: What to measure.
        name: Names the callback's files; callbacks of one trainer need different names.
        data: Examples to measure on; by default the datamodule's ``analysis_set()``.
        on_error: ``raise`` stops the training on all ranks with one message; ``skip`` writes rows with status
            ``error`` and trains on.
        share: Whether the ranks share the work; otherwise each does all of it.
        at: Measure after training batches, or only after validations.
        seed: Keys all random numbers; by default the seed of Lightning's ``seed_everything``, else 0.
        traces: Whether to keep every draw of every chain.
        replicates: Disjoint sets of random numbers to measure the final weights with, when training ends.

    Raises:
        SettingError: If a value is not allowed.
    """

    def __init__(
        self,
        when: Cadence | None,
        plan: Plan,
        *,
        name: str,
        data: Batch | None = None,
        on_error: OnError = "raise",
        share: bool = True,
        at: At = "batch",
        seed: int | None = None,
        traces: bool = True,
        replicates: int = 1,
    ) -> None:
        super().__init__(when, name=name, at=at)
        at_least(1, replicates=replicates)
        if on_error not in ("raise", "skip"):
            raise SettingError(f"{type(self).__name__} got on_error={on_error!r}; use 'raise' or 'skip'.")
        self.plan = plan
        self.data = data
        self.on_error: OnError = on_error
        self.share = share
        self.traces = traces
        self.logged: tuple[int, list[str]] = (-1, [])
        """The last step that was logged, with its tags."""
        self.seconds = 0.0
        """Time spent measuring in this process so far."""
        self.own_seed = seed
        """The seed that it was given; None for that of the run."""
        self.replicates = replicates
        self._replicated_at = -1
        self._cost_is_told = False
        self._doubted = False
        self._slow_is_told = False
        self.spent = 0.0
        """Seconds of the first process that measuring without a budget has taken, all in all."""
        self._trained = 0.0
        self._examples_are = ""
        self._folder = Path()
        self.essential = False
        """Whether what it measures first is what a budget leaves out last, at its last moment."""
        self._memory = measurement_of(plan).memory()

    @classmethod
    def off(cls, name: str) -> "MeasurementCallback":
        """Returns the callback switched off, for a configuration that gives it no cadence."""
        return cls(None, name=name)  # pyright: ignore[reportCallIssue] - with a plan of its own defaults

    def charts(self) -> Charts:
        """Returns the charts of the dashboard for what it measures: one for each quantity that no figure is about."""
        from llc_lightning.report.sections import other_quantities

        return quantity_charts(other_quantities(MEASUREMENTS.get(self.plan.kind).facts.quantities))

    @property
    def seed(self) -> int:
        """The seed that keys all random numbers."""
        return run_seed() if self.own_seed is None else self.own_seed

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Checks the data, the components and the folder, before anything is trained.

        Raises:
            SettingError: If there is no data, or other data whenever it is asked for, or no per-example loss.
            DataError: If the data is not usable.
            AddressError: If a component is not in the module.
            MeasurementError: If the run folder cannot be written to.
        """
        if not self.is_on:
            return
        with quarantine(pl_module):
            workers = Workers.of(trainer)
            if workers.world_size == 1:
                self._check(trainer, pl_module)
            else:
                workers.jointly(lambda: self._check(trainer, pl_module))
            # A module may not be ready before its own hooks have run, so that a doubt is no refusal yet.
            self._doubted = bool(self._trial(trainer, pl_module))
            if not writes(trainer):
                return
            self._folder = open_folder(trainer, seed=self.seed)
            everything = [callback for callback in callbacks_of(trainer, MeasurementCallback) if callback.is_on]
            if everything[0] is self:
                workers.on_zero(lambda: prepare_dashboard(trainer, [callback.charts() for callback in everything]))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tells what cannot be measured, before the first step; and asks for the validation before, if there was one.

        Raises:
            MeasurementError: If something cannot be, with the same message on every rank; unless errors are skipped.
        """
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if not self._doubted:
            return
        self._doubted = False
        with quarantine(pl_module):
            told = self._trial(trainer, pl_module)
        if told and not self.tolerant:
            raise MeasurementError(f"{self.name} cannot measure this: {told}.")
        if told:
            rank_zero_info(f"{self.name} will have rows with status 'error': {told}")

    def _trial(self, trainer: L.Trainer, pl_module: L.LightningModule) -> str:
        """Returns what cannot be measured, and why, the same on every rank; '' if everything can."""
        workers, now = Workers.of(trainer), Moment(trainer.global_step, trainer.current_epoch, "start")
        told = workers.jointly(lambda: trial(self.plan, self._snapshot(trainer, pl_module, now, RAW)))
        return next((each for each in workers.gather(told) if each), "")

    def state_dict(self) -> dict[str, Any]:
        """Returns what has been done, in whole numbers, and the digest of the examples."""
        examples = {"examples": self._examples_are} if self._examples_are else {}
        return {**super().state_dict(), "replicated": self._replicated_at, **examples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what has been done."""
        own = {"replicated": -1, "examples": ""} | state_dict
        self._replicated_at, self._examples_are = int(own["replicated"]), str(own["examples"])
        known = ("seen", "fired", "validated", "epoch")
        super().load_state_dict({name: value for name, value in state_dict.items() if name in known})

    def at_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures if it is due, and repeats the measurement of the final weights with other random numbers."""
        super().at_end(trainer, pl_module)
        step = trainer.global_step
        if not self.is_on or self.replicates == 1 or self._replicated_at == step:
            return
        for replicate in range(1 if self.fired_at == step else 0, self.replicates):
            self.measure(trainer, pl_module, moment_of(trainer, "end"), replicate)
        self._replicated_at = step

    def at_averaged(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Measures the weights that a callback has put into the module, beside those that were trained."""
        self.measure(trainer, pl_module, moment, weights="averaged")

    @property
    def tolerant(self) -> bool:
        """Whether errors are skipped."""
        return self.on_error == "skip"

    def _check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Checks what can be checked before training."""
        data = self._examples(trainer)
        self.plan = self.plan.fitted(n_examples(data))
        self.plan.components_of(pl_module)  # which of it the examples reach is for the trial to see
        loss_fn(pl_module)
        first, again = (data_digest(each, self.plan.examples) for each in (data, self._examples(trainer)))
        if first != again:
            raise SettingError(
                "analysis_set() gives other examples each time, so that rows of two steps could not be compared; give "
                "the same ones, drawn once or from a seed."
            )
        self._same_examples(first)

    def _same_examples(self, digest: str) -> None:
        """Tells where the examples are others than before."""
        if self._examples_are not in ("", digest):
            warnings.warn(
                f"the examples that {self.name} measures on are others than before (digest {digest}, not "
                f"{self._examples_are}): rows from here on have other settings and cannot be compared with the former.",
                stacklevel=1,
            )
        self._examples_are = digest

    def act(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Measures, with the first set of random numbers."""
        self.measure(trainer, pl_module, moment)

    def measure(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        moment: Moment,
        replicate: int = 0,
        *,
        weights: Weights = RAW,
    ) -> None:
        """Measures the weights as they are, and keeps what was measured; every rank must call it.

        Args:
            trainer: The trainer.
            pl_module: The module, which is left as it was.
            moment: The moment that the rows are of.
            replicate: Number of the set of random numbers.
            weights: Which weights the module holds.

        Raises:
            MeasurementError: If measuring or storing failed on any rank, with the same message on all of them; unless
                errors are to be skipped.
        """
        workers, budget = Workers.of(trainer), budget_of(trainer)
        try:
            if budget is None:
                with self._watched(trainer, moment):
                    self._measure(trainer, pl_module, moment, replicate, weights)
            else:
                self._measure_within(budget, trainer, pl_module, moment, replicate, weights)
        except LLCLightningError as error:
            message = f"{self.name} at step {moment.step}: {error}"
            if isinstance(error, LostError):
                raise LostError(message) from error
            if self.on_error == "raise":
                raise MeasurementError(message) from error
            if workers.is_zero:
                warnings.warn(message, stacklevel=2)

    @contextmanager
    def _watched(self, trainer: L.Trainer, moment: Moment) -> Generator[None]:
        """Warns once where a measurement takes longer than the training since the one before."""
        cpu = trainer.strategy.root_device.type == "cpu"
        clock = time.process_time if cpu else time.perf_counter
        began, others = clock(), callbacks_of(trainer, MeasurementCallback)
        training = began - sum(one.spent for one in others)
        yield
        seconds = clock() - began
        since, self._trained = training - self._trained, training
        slow = self.spent > 0 and moment.event != "end" and seconds > max(since, _LONG)
        self.spent += seconds
        if slow and not self._slow_is_told and trainer.is_global_zero:
            self._slow_is_told = True
            warnings.warn(
                f"{self.name} takes {duration(seconds)} at step {moment.step}, and the training took {duration(since)} "
                "since it measured before: measure less often (when=), or bound it (--budget, BudgetCallback).",
                stacklevel=1,
            )

    def _measure_within(
        self,
        budget: BudgetCallback,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        moment: Moment,
        replicate: int,
        weights: Weights,
    ) -> None:
        """Measures what a budget allows, and notes what it does not; all ranks do what the first decides."""
        workers, started = Workers.of(trainer), budget.clock.now()

        def decided() -> Kept | None:
            known = budget.accounts.get(self.name)
            if budget.share and not (known and known.components):
                self.tell(budget, trainer, pl_module, moment)
            return budget.decide(trainer, self, moment, replicate)

        of = {"replicate": replicate, "revision": self.plan.revision}
        part = part_of(moment.step, self.name, weights=weights, **of)
        measured: list[str] = []
        try:
            kept = workers.gather(workers.on_zero(decided))[0]
            if kept is not None:
                measured = self._measure(trainer, pl_module, moment, replicate, weights, kept, budget)
                if workers.is_zero:
                    budget.learn(self, kept, budget.clock.now() - started)
            workers.on_zero(lambda: budget.note(trainer, self, moment, part, kept, measured, weights=weights))
        finally:
            # Whatever became of it, and what was noted: none of it is training.
            budget.clock.measuring += budget.clock.now() - started

    def tell(self, budget: BudgetCallback, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Tells a budget what it measures; on the first process alone."""
        with quarantine(pl_module):
            budget.prepare(self, lambda: self._snapshot(trainer, pl_module, moment, RAW), processes=trainer.world_size)

    def _measure(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        moment: Moment,
        replicate: int,
        weights: Weights,
        kept: Kept | None = None,
        budget: BudgetCallback | None = None,
    ) -> list[str]:
        """Measures, and returns the addresses of what was; of all components without ``kept``."""
        workers, plan = Workers.of(trainer), self.plan
        with ExitStack() as untouched:
            workers.jointly(lambda: untouched.enter_context(quarantine(pl_module)))
            _take_buffers_of_rank_zero(workers, pl_module)
            snapshot = workers.jointly(lambda: self._snapshot(trainer, pl_module, moment, weights))
            only: list[str] | None = None
            if budget is not None and kept is not None:
                plan = plan.narrowed(kept.rungs, kept.methods)
                chosen = workers.on_zero(lambda: budget.screen(self.name, plan, snapshot, kept))
                only = workers.gather(chosen)[0]
            elif not self._cost_is_told:
                self._cost_is_told = True
                workers.on_zero(lambda: self._tell_cost(trainer, snapshot, workers))
            outcome = measure(
                plan,
                snapshot,
                workers=workers,
                share=self.share,
                replicate=replicate,
                progress=progress_of(trainer),
                on_error=self.on_error,
                memory=self._memory,
                only=only,
            )
            self.seconds += outcome.seconds
            workers.on_zero(lambda: self._keep(trainer, outcome, snapshot, replicate))
        return only or []

    def _tell_cost(self, trainer: L.Trainer, snapshot: Snapshot, workers: Workers) -> None:
        """Says before the first measurement what it will cost, and which setting would spare most of it."""
        with progress_of(trainer).task(f"{self.name}: what it will cost", 1):
            told = cost_told(self.plan, snapshot, workers if self.share else Workers())
        if told is None:
            return
        trainer.print(f"{self.name}: {told.sentence(self.times(moment_of(trainer, 'start').max_steps))}")
        if told.advice:
            warnings.warn(f"{self.name}: {told.advice}", stacklevel=1)

    def times(self, last: int | None) -> int | None:
        """Returns how often a training up to a step measures; None where that is not known, or takes long to count."""
        known = self.when is not None and self.at == "batch" and last is not None and last <= _COUNTED
        return self.when.count(last) if self.when and known and last else None

    def _snapshot(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment, weights: Weights) -> Snapshot:
        data = self._examples(trainer)
        self._same_examples(data_digest(data, self.plan.examples))
        return Snapshot.of(
            pl_module,
            data,
            run=run_name(self._folder),
            seed=self.seed,
            step=moment.step,
            epoch=moment.epoch,
            weights=weights,
        )

    def _examples(self, trainer: L.Trainer) -> Batch:
        """Returns the examples to measure on; never from the training loader, whose order that would change."""
        if self.data is not None:
            return self.data
        datamodule: object = getattr(trainer, "datamodule", None)
        if isinstance(datamodule, HasAnalysisSet):
            return datamodule.analysis_set()
        raise SettingError(
            f"{type(self).__name__} has no examples to measure on; give it data=, or give the datamodule a method "
            "analysis_set()."
        )

    def _keep(self, trainer: L.Trainer, outcome: Outcome, snapshot: Snapshot, replicate: int) -> None:
        """Writes what was measured; on rank 0 alone."""
        if not writes(trainer):
            return
        of = {"replicate": replicate, "revision": self.plan.revision}
        part = part_of(snapshot.step, self.name, weights=snapshot.weights, **of)
        keep(self._folder, part, outcome, step=snapshot.step, traces=self.traces, processes=trainer.world_size)
        if replicate == 0 and snapshot.weights == RAW:
            # The loss on the same examples is told once, whoever measured it first.
            others = (one.logged for one in callbacks_of(trainer, MeasurementCallback) if one is not self)
            known = {tag for step, tags in others if step == snapshot.step for tag in tags}
            self.logged = (snapshot.step, log_rows(trainer, outcome.rows, step=snapshot.step, known=known))


@dataclass(frozen=True)
class CallbackFacts:
    """What every measuring callback says of itself when it is registered."""

    keys: tuple[str, ...]
    """Its keys in a configuration, which are its names; several where one training takes several settings."""
    place: int
    """Where its keys stand among those of the others, and when it measures: the lowest first."""
    needs: str = ""
    """Why what has no default must be given."""


CALLBACKS: Registry[type[MeasurementCallback], CallbackFacts] = Registry("measuring callback", CallbackFacts)
"""The callback of every kind of measurement, by the name of the kind."""


def prepare_dashboard(trainer: L.Trainer, charts: Sequence[Charts]) -> None:
    """Writes the layout of the custom scalars for all that will be measured; on rank 0 alone, once."""
    from lightning.pytorch.loggers import TensorBoardLogger

    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            writer: Any = getattr(logger, "experiment")  # noqa: B009 - it has no type
            module = trainer.lightning_module
            tasks = module.task_names if isinstance(module, HasTasks) else ()
            writer.add_custom_scalars(layout(charts, circuits=any(name.startswith("circuit:") for name in tasks)))


def log_rows(trainer: L.Trainer, rows: Sequence[Row], *, step: int, known: Collection[str] = ()) -> list[str]:
    """Logs the rows of one step at exactly that step, but for known tags, and returns the tags; on rank 0 alone.

    ``self.log`` would record them at the next multiple of ``log_every_n_steps``, or never.
    """
    from llc_lightning.report.tensorboard import scalars

    found = scalars(rows) if trainer.loggers else {}
    values = {tag: value for tag, value in found.items() if tag not in known}
    for logger in trainer.loggers:
        logger.log_metrics(values, step=step)
    return list(values)


def _take_buffers_of_rank_zero(workers: Workers, pl_module: L.LightningModule) -> None:
    """Gives the module the buffers of rank 0, since batch norms have seen other batches on every rank.

    The quarantine puts the rank's own ones back.

    Raises:
        MeasurementError: If it fails on any rank, with the same message on all of them.
    """
    if workers.world_size == 1:
        return
    own = dict(pl_module.named_buffers())
    everywhere = workers.gather(workers.jointly(lambda: [_described(*each) for each in own.items()]))
    forms = [[each[:-1] for each in described] for described in everywhere]
    if any(each != forms[0] for each in forms):
        raise MeasurementError("buffers have other names, shapes or types on some ranks; give all ranks the same.")
    same = set(everywhere[0]).intersection(*everywhere)
    buffers = {name: own[name] for name, *more in everywhere[0] if (name, *more) not in same}

    def copied() -> dict[str, torch.Tensor]:
        form = torch.contiguous_format
        return {name: buffer.detach().cpu().clone(memory_format=form) for name, buffer in buffers.items()}

    sent = workers.jointly(copied)
    workers.take_from_zero(sent.values())

    def take() -> None:
        with torch.no_grad():
            for name, buffer in buffers.items():
                buffer.copy_(sent[name])

    workers.jointly(take)


def _described(name: str, buffer: torch.Tensor) -> tuple[str, tuple[int, ...], str, str]:
    """Returns the name, shape, type and digest of a buffer."""
    return name, tuple(buffer.shape), str(buffer.dtype), tensor_digest({"": buffer})
