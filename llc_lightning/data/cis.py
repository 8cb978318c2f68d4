"""The LightningDataModule of the tasks for computation in superposition."""

import lightning as L
from jaxtyping import Int64
from torch import Tensor

from llc_lightning.data.order import EpochLoader, EpochOrder, OrderKind, Source
from llc_lightning.data.tasks import CISTask, make_task
from llc_lightning.runtime.batches import take
from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.seeding import generator
from llc_lightning.runtime.types import Batch

_VALIDATION_BATCH = 1024


class TaskStream(Source):
    """An endless row of batches; batch ``number`` is a pure function of (seed, kind, number). An item is a batch."""

    def __init__(self, task: CISTask, *, batch_size: int, seed: int, kind: str) -> None:
        self.task = task
        self.batch_size = batch_size
        self.seed = seed
        self.kind = kind

    def batch(self, numbers: Int64[Tensor, "1"]) -> Batch:
        """Returns the batch with this number."""
        return self.task.sample(self.batch_size, generator(self.seed, self.kind, int(numbers)))


class CISData(L.LightningDataModule):
    """Fresh examples of a task for every training step, and fixed ones to validate and to measure on.

    Training batch ``number`` is a pure function of (seed, number), and ranks take the batches in turns: a run sees the
    same examples whatever the number of ranks, and continues exactly when it is resumed. No example ever comes twice;
    ``batches_per_epoch`` only says how often Lightning ends an epoch and validates.

    Args:
        task: The task's name: ``xor``, ``uprod``, ``circ``, ``abs`` or ``relu``.
        size: The task's number of circuits (uprod: of inputs).
        active: How many circuits are active in an example on average.
        batch_size: Examples in a training batch, on each rank.
        batches_per_epoch: Training batches in an epoch, over all ranks.
        validation_size: Examples to validate on, a multiple of 1024; 0 for no validation.
        analysis_size: Examples of the analysis set, on which the LLC and ablations are measured.
        seed: The run's seed; all examples are functions of it.

    Raises:
        SettingError: If the task is unknown or a number is out of range.
    """

    def __init__(
        self,
        task: str = "xor",
        size: int = 32,
        active: float = 1.0,
        *,
        batch_size: int = 512,
        batches_per_epoch: int = 500,
        validation_size: int = 8192,
        analysis_size: int = 131_072,
        seed: int = 0,
    ) -> None:
        super().__init__()
        counts = {"batch_size": batch_size, "batches_per_epoch": batches_per_epoch, "analysis_size": analysis_size}
        for name, count in counts.items():
            if count < 1:
                raise SettingError(f"{name} is {count}; give at least 1.")
        if validation_size < 0 or validation_size % _VALIDATION_BATCH:
            raise SettingError(f"validation_size is {validation_size}; give a multiple of {_VALIDATION_BATCH}, or 0.")
        # Lightning refuses to log settings that model and data share by name but not by value, such as their seeds.
        self.save_hyperparameters(logger=False)
        self.task = make_task(task, size=size, active=active)
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.validation_size = validation_size
        self.analysis_size = analysis_size
        self.seed = seed
        self._analysis: Batch | None = None

    def train_dataloader(self) -> EpochLoader:
        """Returns this rank's training batches."""
        return self._loader("train", "fresh", self.batch_size, self.batches_per_epoch)

    def val_dataloader(self) -> EpochLoader | list[EpochLoader]:
        """Returns this rank's validation batches, the same in every epoch."""
        n_batches = self.validation_size // _VALIDATION_BATCH
        return self._loader("validation", "fixed", _VALIDATION_BATCH, n_batches) if n_batches else []

    def analysis_set(self, n: int | None = None) -> Batch:
        """Returns the first ``n`` examples of the analysis set, by default all; a pure function of the seed.

        Raises:
            DataError: If ``n`` is not between 1 and ``analysis_size``.
        """
        wanted = self.analysis_size if n is None else n
        if not 1 <= wanted <= self.analysis_size:
            raise DataError(
                f"{wanted} examples were asked of an analysis set of {self.analysis_size}; "
                "ask for at least 1 and at most all of them, or raise analysis_size."
            )
        if self._analysis is None:
            self._analysis = self.task.sample(self.analysis_size, generator(self.seed, "analysis"))
        return take(self._analysis, slice(0, wanted))

    def _loader(self, kind: str, order: OrderKind, batch_size: int, n_batches: int) -> EpochLoader:
        rank, world_size = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        stream = TaskStream(self.task, batch_size=batch_size, seed=self.seed, kind=kind)
        return EpochLoader(stream, EpochOrder(n_batches, kind=order, seed=self.seed, rank=rank, world_size=world_size))
