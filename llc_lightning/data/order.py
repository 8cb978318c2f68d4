"""What all datamodules here share: an analysis set, and an order of examples that is a pure function of (seed, epoch).

Ranks share the order, and it is exact after a resume.

Nothing here draws from the global generators, so that neither the number of processes nor a resume changes what a
training sees.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import lightning as L
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DistributedSampler

from llc_lightning.runtime.batches import Batch, chunks, n_examples, take
from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.seeding import generator

OrderKind: TypeAlias = Literal["shuffled", "fresh", "fixed"]


class EpochOrder(DistributedSampler[int]):
    """The numbers of the items that one rank takes in an epoch, as a pure function of (seed, epoch).

    Rank ``r`` of ``w`` takes the places ``r, r + w, r + 2w, ...`` of one order that all ranks share: every item comes
    to exactly one rank. What is left over when ``n_items`` is no multiple of ``w`` is dropped, so that all ranks take
    equally many.

    As a ``DistributedSampler`` it is told the epoch by Lightning, and not replaced by Lightning's own.

    Args:
        n_items: Items in an epoch, over all ranks.
        kind: ``shuffled``: a new permutation of the numbers below ``n_items`` in every epoch. ``fixed``: always these
            numbers in their order. ``fresh``: never the same number twice, as epoch ``e`` starts at ``e * n_items``;
            for items that are made when asked for.
        seed: Of the permutations.
        rank: The rank that takes the items.
        world_size: The number of ranks.

    Raises:
        SettingError: If the rank is not one of ``world_size``.
        DataError: If there are fewer items than ranks.

    Example:
        >>> list(EpochOrder(6, kind="fixed", seed=0, rank=1, world_size=2))
        [1, 3, 5]
    """

    def __init__(self, n_items: int, *, kind: OrderKind, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if not 0 <= rank < world_size:
            raise SettingError(f"rank {rank} is not one of {world_size}; ranks run from 0 to {world_size - 1}.")
        if n_items < world_size:
            raise DataError(f"{n_items} items are too few for {world_size} ranks; give at least one for each.")
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            range(n_items),  # pyright: ignore[reportArgumentType] - only its length is used
            num_replicas=world_size,
            rank=rank,
            shuffle=False,
            seed=seed,
            drop_last=True,
        )
        self.n_items = n_items
        self.kind = kind

    def numbers(self, epoch: int) -> Int64[Tensor, "item"]:
        """Returns this rank's items of an epoch, in order."""
        if self.kind == "shuffled":
            order = torch.randperm(self.n_items, generator=generator(self.seed, "order", epoch))
        else:
            order = torch.arange(self.n_items) + (epoch * self.n_items if self.kind == "fresh" else 0)
        return order[self.rank :: self.num_replicas][: len(self)]

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers(self.epoch).numpy().tolist())


class Source(ABC):
    """Where a loader gets its batches from."""

    @abstractmethod
    def batch(self, numbers: Int64[Tensor, "item"]) -> Batch:
        """Returns the batch of the items with these numbers."""


class Pool(Source):
    """A fixed set of examples; an item is one example.

    Raises:
        DataError: If the tensors do not share their leading axis.
    """

    def __init__(self, data: Batch) -> None:
        self.data = data
        self.n_items = n_examples(data)

    def batch(self, numbers: Int64[Tensor, "item"]) -> Batch:
        """Returns the examples with these numbers."""
        return take(self.data, numbers)


class Stream(Source):
    """An endless row of batches; batch ``number`` is a pure function of (seed, kind, number). An item is a batch.

    Args:
        draw: Draws a batch from a generator.
        seed: Of all batches.
        kind: What they are for, such as ``train``.
    """

    def __init__(self, draw: Callable[[torch.Generator], Batch], *, seed: int, kind: str) -> None:
        self.draw = draw
        self.seed = seed
        self.kind = kind

    def batch(self, numbers: Int64[Tensor, "1"]) -> Batch:
        """Returns the batch with this number."""
        return self.draw(generator(self.seed, self.kind, int(numbers)))


class EpochLoader:
    """Yields whole batches in the order of an :class:`EpochOrder`, and can continue in the middle of an epoch.

    It stands where a ``DataLoader`` would, for data that are in memory or made when asked for: no workers, no collating
    of single examples, no draw from the global generators. Lightning stores and restores its position through
    ``state_dict``, tells ``sampler`` the epoch, and changes nothing else about it.

    Args:
        source: Gives the batch of given items.
        sampler: The order of the items on this rank.
        items_per_batch: Items in a batch; the last batch of an epoch may have fewer.

    Raises:
        SettingError: If ``items_per_batch`` is below 1.
    """

    batch_sampler = None
    """Lightning looks for it beside ``sampler``, as on a ``DataLoader``."""

    def __init__(self, source: Source, sampler: EpochOrder, *, items_per_batch: int = 1) -> None:
        if items_per_batch < 1:
            raise SettingError(f"items_per_batch is {items_per_batch}; a batch holds at least 1.")
        self.source = source
        self.sampler = sampler
        self.items_per_batch = items_per_batch
        self._epoch = 0
        self._batches = 0
        self._resumes = False

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.items_per_batch)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing is looked up before the first batch, as Lightning calls iter() and then sets the epoch.
        epoch = self.sampler.epoch
        start = self._batches if self._resumes and self._epoch == epoch else 0
        self._resumes = False
        items = self.sampler.numbers(epoch)
        for number, places in enumerate(chunks(len(items), self.items_per_batch)):
            if number >= start:
                self._epoch, self._batches = epoch, number + 1
                yield self.source.batch(items[places])

    def state_dict(self) -> dict[str, Any]:
        """Returns the position: the epoch, and the items of it that all ranks together have taken."""
        return {"epoch": self._epoch, "items": self._batches * self.items_per_batch * self.sampler.num_replicas}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Moves to a position: the next iteration of its epoch starts there, and of any other epoch at the beginning.

        Raises:
            DataError: If the position lies inside a batch, as the batch size or the number of ranks has changed.
        """
        per_step = self.items_per_batch * self.sampler.num_replicas
        batches, inside = divmod(state["items"], per_step)
        if inside:
            raise DataError(
                f"the checkpoint was written after {state['items']} items of its epoch, which is no multiple of the "
                f"{per_step} that all ranks now take in one step; resume with the old batch size and number of ranks."
            )
        self._epoch, self._batches, self._resumes = state["epoch"], batches, True


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
