"""The LightningDataModule of the tasks for transformers."""

from dataclasses import asdict
from functools import partial
from typing import Any

from llc_lightning.data.order import AnalysedData, EpochLoader, Pool, Stream, checked_validation_size
from llc_lightning.data.sequences.base import SequenceTask, Split
from llc_lightning.runtime.batches import Batch, n_examples, take
from llc_lightning.runtime.errors import at_least
from llc_lightning.runtime.seeding import generator

_VALIDATION_BATCH = 256


class SequenceData(AnalysedData):
    """Sequences of a task to train on, others to validate on, and fixed ones to measure on.

    Tasks without end give fresh sequences: training batch ``number`` is a pure function of (seed, number), and ranks
    take the batches in turns. A finite task (modular addition) gives all of its training examples in every epoch, in an
    order that is a pure function of (seed, epoch), each to one rank. A run continues exactly when it is resumed.

    Args:
        task: The task, one of ``llc_lightning.data.sequences`` or your own.
        batch_size: Sequences in a training batch, on each rank.
        batches_per_epoch: Training batches in an epoch, over all ranks, where there is no end of sequences.
        validation_size: Sequences to validate on, a multiple of 256; 0 for no validation. A finite task validates on
            all sequences that it does not train on.
        analysis_size: Sequences of the analysis set, on which the LLC and ablations are measured; of a finite task at
            most all that it trains on.
        seed: The run's seed; all sequences are functions of it.

    Raises:
        SettingError: If a number is out of range.
    """

    def __init__(
        self,
        task: SequenceTask,
        *,
        batch_size: int = 64,
        batches_per_epoch: int = 500,
        validation_size: int = 2048,
        analysis_size: int = 16_384,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        counts = {"batch_size": batch_size, "batches_per_epoch": batches_per_epoch, "analysis_size": analysis_size}
        at_least(1, **counts)
        settings: Any = task
        plain = {"task": {"name": type(task).__name__, **asdict(settings)}, "validation_size": validation_size}
        self.save_hyperparameters({**plain, **counts, "seed": seed, "described": task.described}, logger=False)
        self.task = task
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.validation_size = checked_validation_size(validation_size, _VALIDATION_BATCH)
        self.analysis_size = analysis_size
        self._baselines: dict[str, float] | None = None

    def setup(self, stage: str) -> None:
        """Says what the examples are taken from, where that may differ from machine to machine."""
        if self.task.described and (self.trainer is None or self.trainer.is_global_zero):
            print(f"data: {self.task.described}")

    def baselines(self) -> dict[str, float]:
        """Returns the losses of simple predictors by name."""
        if self._baselines is None:
            self._baselines = self.task.baselines(self.seed)
        return self._baselines

    def train_dataloader(self) -> EpochLoader:
        """Returns this rank's training batches."""
        pool = self.task.pool("train", self.seed)
        if pool is not None:
            return self.loader(Pool(pool), "shuffled", n_examples(pool), items_per_batch=self.batch_size)
        return self.loader(self._stream("train", self.batch_size), "fresh", self.batches_per_epoch)

    def val_dataloader(self) -> EpochLoader | list[EpochLoader]:
        """Returns this rank's validation batches, the same in every epoch."""
        if not self.validation_size:
            return []
        pool = self.task.pool("validation", self.seed)
        if pool is not None:
            return self.loader(Pool(pool), "fixed", n_examples(pool), items_per_batch=n_examples(pool))
        stream = self._stream("validation", _VALIDATION_BATCH)
        return self.loader(stream, "fixed", self.validation_size // _VALIDATION_BATCH)

    def make_analysis_set(self) -> Batch:
        """Draws the analysis set, or takes it from what a finite task trains on."""
        pool = self.task.pool("train", self.seed)
        if pool is None:
            return self.task.sample(self.analysis_size, generator(self.seed, "analysis"))
        return take(pool, slice(0, self.analysis_size))

    def _stream(self, split: Split, batch_size: int) -> Stream:
        return Stream(partial(self.task.sample, batch_size, split=split), seed=self.seed, kind=split)
