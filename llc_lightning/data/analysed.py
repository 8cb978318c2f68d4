"""What all datamodules here share: their loaders, and a fixed set of examples to measure on."""

from abc import ABC, abstractmethod

import lightning as L

from llc_lightning.data.order import EpochLoader, EpochOrder, OrderKind, Source
from llc_lightning.runtime.batches import Batch, n_examples, take
from llc_lightning.runtime.errors import DataError, SettingError


class AnalysedData(L.LightningDataModule, ABC):
    """Examples whose order is a pure function of (seed, epoch) that ranks share, and an analysis set.

    Args:
        seed: The run's seed; all examples, or their order, follow from it.
    """

    def __init__(self, *, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self._analysis: Batch | None = None

    @abstractmethod
    def make_analysis_set(self) -> Batch:
        """Returns the analysis set, a pure function of the seed."""

    def analysis_set(self, n: int | None = None) -> Batch:
        """Returns the first ``n`` examples of the analysis set, by default all; a pure function of the seed.

        Raises:
            DataError: If ``n`` is not between 1 and the size of the set.
        """
        if self._analysis is None:
            self._analysis = self.make_analysis_set()
        size = n_examples(self._analysis)
        wanted = size if n is None else n
        if not 1 <= wanted <= size:
            raise DataError(
                f"{wanted} examples were asked of an analysis set of {size}; ask for at least 1 and at most all of "
                "them, or raise analysis_size."
            )
        return take(self._analysis, slice(0, wanted))

    def loader(self, source: Source, order: OrderKind, n_items: int, *, items_per_batch: int = 1) -> EpochLoader:
        """Returns this rank's batches of a source; the arguments are those of ``EpochOrder`` and ``EpochLoader``."""
        rank, world_size = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        sampler = EpochOrder(n_items, kind=order, seed=self.seed, rank=rank, world_size=world_size)
        return EpochLoader(source, sampler, items_per_batch=items_per_batch)


def checked_validation_size(size: int, batch: int) -> int:
    """Returns the size of a validation set of whole batches.

    Raises:
        SettingError: If it is no multiple of the batch.
    """
    if size < 0 or size % batch:
        raise SettingError(f"validation_size is {size}; give a multiple of {batch}, or 0.")
    return size
