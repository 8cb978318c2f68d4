"""The LightningDataModule of the tasks for transformers."""

from dataclasses import asdict
from typing import Any

import lightning as L
from jaxtyping import Int64
from torch import Tensor

from llc_lightning.data.order import EpochLoader, EpochOrder, OrderKind, Pool, Source
from llc_lightning.data.sequences.base import SequenceTask, Split
from llc_lightning.runtime.batches import n_examples, take
from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.seeding import generator
from llc_lightning.runtime.types import Batch

_VALIDATION_BATCH = 256


class SequenceStream(Source):
    """An endless row of batches; batch ``number`` is a pure function of (seed, split, number). An item is a batch."""

    def __init__(self, task: SequenceTask, *, batch_size: int, seed: int, split: Split) -> None:
        self.task = task
        self.batch_size = batch_size
        self.seed = seed
        self.split: Split = split

    def batch(self, numbers: Int64[Tensor, "1"]) -> Batch:
        """Returns the batch with this number."""
        return self.task.sample(self.batch_size, generator(self.seed, self.split, int(numbers)), self.split)


class SequenceData(L.LightningDataModule):
    """Sequences of a task to train on, others to validate on, and fixed ones to measure on.

    Tasks without end give fresh sequences: training batch ``number`` is a pure function of (seed, number), and ranks
    take the batches in turns. A finite task (modular addition) gives all of its training examples in every epoch, in an
    order that is a pure function of (seed, epoch), each to one rank. A run continues exactly when it is resumed.

    Args:
        task: The task.
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
        super().__init__()
        counts = {"batch_size": batch_size, "batches_per_epoch": batches_per_epoch, "analysis_size": analysis_size}
        for name, count in counts.items():
            if count < 1:
                raise SettingError(f"{name} is {count}; give at least 1.")
        if validation_size < 0 or validation_size % _VALIDATION_BATCH:
            raise SettingError(f"validation_size is {validation_size}; give a multiple of {_VALIDATION_BATCH}, or 0.")
        settings: Any = task
        plain = {"task": {"name": type(task).__name__, **asdict(settings)}, "validation_size": validation_size}
        self.save_hyperparameters({**plain, **counts, "seed": seed, "described": task.described}, logger=False)
        self.task = task
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.validation_size = validation_size
        self.analysis_size = analysis_size
        self.seed = seed
        self._analysis: Batch | None = None
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
            return self._loader(Pool(pool), "shuffled", n_examples(pool), self.batch_size)
        return self._loader(self._stream("train", self.batch_size), "fresh", self.batches_per_epoch)

    def val_dataloader(self) -> EpochLoader | list[EpochLoader]:
        """Returns this rank's validation batches, the same in every epoch."""
        if not self.validation_size:
            return []
        pool = self.task.pool("validation", self.seed)
        if pool is not None:
            return self._loader(Pool(pool), "fixed", n_examples(pool), n_examples(pool))
        stream = self._stream("validation", _VALIDATION_BATCH)
        return self._loader(stream, "fixed", self.validation_size // _VALIDATION_BATCH)

    def analysis_set(self, n: int | None = None) -> Batch:
        """Returns the first ``n`` sequences of the analysis set, by default all; a pure function of the seed.

        Raises:
            DataError: If ``n`` is not between 1 and the size of the set.
        """
        if self._analysis is None:
            pool = self.task.pool("train", self.seed)
            if pool is None:
                self._analysis = self.task.sample(self.analysis_size, generator(self.seed, "analysis"))
            else:
                self._analysis = take(pool, slice(0, self.analysis_size))
        size = n_examples(self._analysis)
        wanted = size if n is None else n
        if not 1 <= wanted <= size:
            raise DataError(
                f"{wanted} examples were asked of an analysis set of {size}; ask for at least 1 and at most all of "
                "them, or raise analysis_size."
            )
        return take(self._analysis, slice(0, wanted))

    def _stream(self, split: Split, batch_size: int) -> SequenceStream:
        return SequenceStream(self.task, batch_size=batch_size, seed=self.seed, split=split)

    def _loader(self, source: Source, order: OrderKind, n_items: int, items_per_batch: int = 1) -> EpochLoader:
        rank, world_size = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        sampler = EpochOrder(n_items, kind=order, seed=self.seed, rank=rank, world_size=world_size)
        return EpochLoader(source, sampler, items_per_batch=items_per_batch)
