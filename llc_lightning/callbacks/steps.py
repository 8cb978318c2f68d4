"""The steps of a training: where it stands, how many it will make, and whether each is of one set of weights."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging
from torch import Tensor

from llc_lightning.runtime.cadence import Event, Moment
from llc_lightning.runtime.errors import SettingError

C = TypeVar("C")


def moment_of(trainer: L.Trainer, event: Event) -> Moment:
    """Returns where a training stands."""
    # At the end Lightning has counted the last epoch as done.
    epoch = trainer.current_epoch - (1 if event == "end" and trainer.current_epoch > 0 else 0)
    return Moment(trainer.global_step, epoch, event, planned_steps(trainer))


def planned_steps(trainer: L.Trainer) -> int | None:
    """Returns how many optimizer steps the whole training makes; None where that is not known.

    A module that steps its optimizers itself (``automatic_optimization = False``) may step several for each batch, or
    none: the steps so far then say how many there are for each batch.
    """
    most = trainer.max_steps if trainer.max_steps >= 0 else math.inf
    batches = trainer.num_training_batches
    epochs = math.inf if trainer.max_epochs in (None, -1) else max(trainer.max_epochs, 1)
    # SWA appends an epoch without steps.
    epochs = min([epochs, *(one.swa_end + 1 for one in _callbacks(trainer, StochasticWeightAveraging))])
    finite = math.isfinite(batches) and math.isfinite(epochs)
    steps = _steps(trainer, int(batches), int(epochs)) if finite else math.inf
    planned = min(steps, most)
    return int(planned) if 0 < planned < math.inf else None


def _steps(trainer: L.Trainer, batches: int, epochs: int) -> int:
    if not trainer.lightning_module.automatic_optimization:
        done = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        each = trainer.global_step / done if done > 0 and trainer.global_step > 0 else 1.0
        return max(math.ceil(batches * epochs * each), trainer.global_step)
    schedules = _callbacks(trainer, GradientAccumulationScheduler)
    if not schedules:
        return math.ceil(batches / trainer.accumulate_grad_batches) * epochs
    return sum(math.ceil(batches / schedules[0].get_accumulate_grad_batches(epoch)) for epoch in range(epochs))


def is_at_end(trainer: L.Trainer) -> bool:
    """Says whether a training makes no more steps; Lightning does nothing at all from a checkpoint of its last one."""
    end = planned_steps(trainer)
    loop: Any = trainer.fit_loop
    stops = trainer.should_stop and loop._can_stop_early  # not before min_steps and min_epochs
    return stops or (end is not None and trainer.global_step >= end)


def nothing_follows(trainer: L.Trainer) -> bool:
    """Says whether only the next batch follows the end of a batch.

    From a checkpoint that is written there Lightning goes on with the next batch: a validation that was to come before
    it, and what is done at the end of an epoch, would be left out.
    """
    loop: Any = trainer.fit_loop
    last = loop.epoch_loop._num_ready_batches_reached()
    return not last and not loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def is_within_step(trainer: L.Trainer) -> bool:
    """Says whether gradients of a step are accumulated that is not made yet: they are in no checkpoint."""
    loop: Any = trainer.fit_loop
    return trainer.lightning_module.automatic_optimization and loop.epoch_loop._should_accumulate()


def validates(trainer: L.Trainer) -> bool:
    """Says whether a training validates before it ends."""
    every, epochs = trainer.check_val_every_n_epoch, trainer.max_epochs
    in_time = every is None or epochs is None or epochs < 0 or every <= epochs
    loaded: object = trainer.val_dataloaders  # None until they are needed
    empty = loaded is not None and not any(number > 0 for number in trainer.num_val_batches)
    return trainer.enable_validation and in_time and not empty


class OneSetOfWeights:
    """Watches that weights do not move while Lightning's count of steps stands still.

    They do where a module steps an optimizer itself that Lightning does not know. With automatic optimization that
    cannot be, and costs nothing; else it costs a pass over the weights for each batch.
    """

    def __init__(self) -> None:
        self._step = -1
        self._seen: Sequence[Tensor] = ()

    def look(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Looks at the weights, before the first batch and after every one.

        Raises:
            SettingError: If they have moved and the step has not.
        """
        if module.automatic_optimization:
            return
        seen = [one.detach().abs().sum() for one in module.parameters() if one.requires_grad]
        moved = trainer.global_step == self._step and len(seen) == len(self._seen) and not _same(seen, self._seen)
        self._step, self._seen = trainer.global_step, seen
        if moved:
            raise SettingError(
                f"the weights have moved in a batch that left Lightning's global_step at {self._step}, so that rows of "
                "one step would be of different weights: return every optimizer from configure_optimizers(), and step "
                "it as self.optimizers().step(), which counts."
            )


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in pairs)


def _callbacks(trainer: L.Trainer, kind: type[C]) -> list[C]:
    every: list[object] = getattr(trainer, "callbacks", [])
    return [callback for callback in every if isinstance(callback, kind)]
