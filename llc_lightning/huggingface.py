"""The same measurements while a Hugging Face ``Trainer`` trains."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llc_lightning.callbacks.base import MeasurementCallback
from llc_lightning.callbacks.cadenced import CadencedCallback
from llc_lightning.components.loss import named_tensors, snapshot_params
from llc_lightning.components.skeleton import independent_copy
from llc_lightning.measure.forecast import cost_told
from llc_lightning.measure.offline import measure_snapshots
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.provenance import provenance, write_provenance
from llc_lightning.results.run import Run, run_name
from llc_lightning.results.snapshots import save_snapshot
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.cadence import Clock, Event, Moment
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.quarantine import quarantine
from llc_lightning.runtime.workers import Workers


class HuggingFaceCallback(TrainerCallback):
    """Keeps and measures the weights that a ``transformers.Trainer`` trains, as measuring callbacks say.

    Whenever one of them is due it writes a snapshot and measures that, as ``analyze measure`` does: the rows are those
    that the callbacks write in a Lightning training at the same weights, and training goes on as without. Before the
    first measurement it says what one will cost. Where several processes train, the first measures alone.

    Args:
        callbacks: What to measure and when, such as ``LLCCallback(Every(steps=500), n_beta=100.0, gamma=1000.0)``, and
            ``SnapshotCallback`` for weights to measure later.
        module: A module with ``per_example_loss(batch)`` that holds the model which is trained.
        data: The examples to measure on: a tensor, or a tuple, list or dictionary of tensors, whose first axis counts
            the examples.
        folder: The run folder; by default ``llc_lightning`` in the output folder of the training.
        seed: Keys all random numbers; by default the seed of the training's arguments.

    Raises:
        SettingError: If two callbacks have the same name, or the module does not hold the model.
    """

    def __init__(
        self,
        callbacks: Sequence[CadencedCallback],
        module: nn.Module,
        data: Batch,
        *,
        folder: str | Path | None = None,
        seed: int | None = None,
    ) -> None:
        names = [one.name for one in callbacks]
        if len(set(names)) < len(names):
            raise SettingError(f"the callbacks are called {', '.join(names)}; give each a name of its own with name=.")
        self.callbacks, self.module, self.data = list(callbacks), module, data
        self.folder = None if folder is None else Path(folder)
        self.seed = seed
        self._untold = set(names)
        self._clocks = {one.name: Clock(one.when) for one in callbacks if one.when is not None}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Opens the run folder, and measures what is due before the first step."""
        self.seed = args.seed if self.seed is None else self.seed
        self.folder = self.folder or Path(str(args.output_dir), "llc_lightning")
        held, trained = (_places(one) for one in (self.module, kwargs["model"]))
        if not trained <= held:
            raise SettingError(
                "module does not hold the model that is trained; make it around the trainer's own model."
            )
        if state.is_world_process_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_provenance(self.folder, provenance(seeds={"run": self.seed}, device=args.device.type))
        self._ask("start", state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measures what is due after an optimizer step."""
        self._ask("step", state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measures what is due after an epoch."""
        self._ask("epoch_end", state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measures what is due at the end, and says where everything is."""
        self._ask("end", state)
        if state.is_world_process_zero:
            print(f"wrote {self.folder}, next: {call('analyze', 'summary', str(self.folder))}")

    def _ask(self, event: Event, state: TrainerState) -> None:
        epoch = max(0, math.ceil(state.epoch or 0.0) - 1)
        moment = Moment(state.global_step, epoch, event, state.max_steps)
        due = [one for one in self.callbacks if one.name in self._clocks and self._clocks[one.name].fires(moment)]
        if due and state.is_world_process_zero:
            self._measure(due, moment)

    def _measure(self, due: Sequence[CadencedCallback], moment: Moment) -> None:
        folder, step = Path(self.folder or ""), moment.step
        cpu, cuda = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        try:
            save_snapshot(folder, step, snapshot_params(self.module), epoch=moment.epoch)
            for one in due:
                if isinstance(one, MeasurementCallback):
                    seed = self.seed if one.own_seed is None else one.own_seed
                    if one.name in self._untold:
                        self._untold.remove(one.name)
                        self._tell_cost(one, moment, seed=seed or 0)
                    measure_snapshots(
                        self.module, self.data, {one.name: one.plan}, Run(folder), steps=[step], seed=seed,
                        replicates=one.replicates if moment.event == "end" else 1, traces=one.traces,
                    )  # fmt: skip
        finally:
            torch.set_rng_state(cpu)
            for device, kept in enumerate(cuda):
                torch.cuda.set_rng_state(kept, device)

    def _tell_cost(self, one: MeasurementCallback, moment: Moment, *, seed: int) -> None:
        copy = independent_copy(self.module)
        with quarantine(copy):
            run = run_name(Path(self.folder or ""))
            snapshot = Snapshot.of(copy, self.data, run=run, seed=seed, step=moment.step, epoch=moment.epoch)
            told = cost_told(one.plan, snapshot, Workers())
        if told is not None:
            print(f"{one.name}: {told.sentence(one.times(moment.max_steps))}", flush=True)
            if told.advice:
                warnings.warn(f"{one.name}: {told.advice}", stacklevel=1)


def _places(module: nn.Module) -> set[int]:
    """Returns where the tensors of a module lie, which two modules share if one holds the other."""
    return {tensor.data_ptr() for tensor in named_tensors(module).values()}
