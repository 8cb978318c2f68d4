"""The LightningDataModule of the tasks for computation in superposition."""

from functools import partial

from llc_lightning.data.order import AnalysedData, EpochLoader, OrderKind, Stream, checked_validation_size
from llc_lightning.data.tasks import make_task
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import at_least
from llc_lightning.runtime.seeding import generator

_VALIDATION_BATCH = 1024


class CISData(AnalysedData):
    """Fresh examples of a task for every training step, and fixed ones to validate and to measure on.

    Training batch ``number`` is a pure function of (seed, number), and ranks take the batches in turns: a run sees the
    same examples whatever the number of ranks, and continues exactly when it is resumed. No example ever comes twice;
    ``batches_per_epoch`` only says how often Lightning ends an epoch and validates.

    Args:
        task: The task's name, the same as in the model, such as ``xor``.
        size: The task's number of circuits (uprod: of inputs), the same as in the model.
        active: How many circuits are active in an example on average, the same as in the model.
        batch_size: Examples in a training batch, on each rank.
        batches_per_epoch: Training batches in an epoch, over all ranks; this only says how often it validates.
        validation_size: Examples to validate on, a multiple of 1024; 0 for no validation.
        analysis_size: Examples of the analysis set, on which the LLC and ablations are measured; at least 10 times
            ``n_beta``, or the LLC is biased.
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
        super().__init__(seed=seed)
        at_least(1, batch_size=batch_size, batches_per_epoch=batches_per_epoch, analysis_size=analysis_size)
        # Lightning refuses to log settings that model and data share by name but not by value, such as their seeds.
        self.save_hyperparameters(logger=False)
        self.task = make_task(task, size=size, active=active)
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.validation_size = checked_validation_size(validation_size, _VALIDATION_BATCH)
        self.analysis_size = analysis_size

    def train_dataloader(self) -> EpochLoader:
        """Returns this rank's training batches."""
        return self._stream("train", "fresh", self.batch_size, self.batches_per_epoch)

    def val_dataloader(self) -> EpochLoader | list[EpochLoader]:
        """Returns this rank's validation batches, the same in every epoch."""
        n_batches = self.validation_size // _VALIDATION_BATCH
        return self._stream("validation", "fixed", _VALIDATION_BATCH, n_batches) if n_batches else []

    def make_analysis_set(self) -> Batch:
        """Draws the analysis set."""
        return self.task.sample(self.analysis_size, generator(self.seed, "analysis"))

    def _stream(self, kind: str, order: OrderKind, batch_size: int, n_batches: int) -> EpochLoader:
        stream = Stream(partial(self.task.sample, batch_size), seed=self.seed, kind=kind)
        return self.loader(stream, order, n_batches)
