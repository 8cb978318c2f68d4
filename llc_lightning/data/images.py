"""The LightningDataModule of two image tasks in one net."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float32, Int64, UInt8
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor

from llc_lightning.data.image_sets import ImagePair, ImageSet
from llc_lightning.data.image_sources import HUB, load_images
from llc_lightning.data.layouts import Layout, make_layout
from llc_lightning.data.order import AnalysedData, EpochLoader, OrderKind, Source
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import DataError, at_least, unless_none
from llc_lightning.runtime.seeding import generator
from llc_lightning.runtime.workers import Workers

NO_LABEL = -1
"""Stands where an example has no label of a task."""

_VALIDATION_BATCH = 1000


class Either(Source):
    """Examples with an image of either task; an item is one image, those of the first task come first."""

    order: OrderKind = "shuffled"

    def __init__(self, layout: Layout, sets: Sequence[ImageSet], *, mini: bool) -> None:
        self.mini = mini
        self.images = torch.cat([one.images for one in sets])
        columns = [torch.full((sum(map(len, sets)),), NO_LABEL) for _ in sets]
        start = 0
        for column, one, offset in zip(columns, sets, layout.offsets, strict=True):
            column[start : start + len(one)] = one.labels + offset
            start += len(one)
        self.labels = torch.stack(columns, dim=1)
        self.n_items = start

    def batch(self, numbers: Int64[Tensor, "item"]) -> Batch:
        """Returns the examples with these numbers."""
        return brightness(self.images.index_select(0, numbers), mini=self.mini), self.labels.index_select(0, numbers)


class Both(Source):
    """Examples with an image of each task, paired anew in every epoch; an item is a pair.

    Pair ``number`` belongs to the epoch ``number // n_items``; which images it holds is a pure function of (seed, kind,
    number), and an epoch holds every image of either task once, where there are equally many.
    """

    order: OrderKind = "fresh"

    def __init__(self, layout: Layout, sets: Sequence[ImageSet], *, mini: bool, seed: int, kind: str) -> None:
        self.layout = layout
        self.sets = sets
        self.mini = mini
        self.seed = seed
        self.kind = kind
        self.n_items = min(map(len, sets))
        self._orders: tuple[int, list[Tensor]] = (-1, [])

    def batch(self, numbers: Int64[Tensor, "item"]) -> Batch:
        """Returns the pairs with these numbers, which must be of one epoch."""
        epoch = int(numbers[0]) // self.n_items
        if epoch != self._orders[0]:
            self._orders = (epoch, [self._order(task, epoch) for task in range(len(self.sets))])
        chosen = [order[numbers - epoch * self.n_items] for order in self._orders[1]]
        first, second = (
            brightness(one.images.index_select(0, items), mini=self.mini)
            for one, items in zip(self.sets, chosen, strict=True)
        )
        images = torch.cat((first, second), dim=2) if self.layout.wide else (first + second) / 2
        return images, torch.stack([one.labels[items] for one, items in zip(self.sets, chosen, strict=True)], dim=1)

    def _order(self, task: int, epoch: int) -> Int64[Tensor, "image"]:
        return torch.randperm(len(self.sets[task]), generator=generator(self.seed, self.kind, task, epoch))


def brightness(images: UInt8[Tensor, "image row column"], *, mini: bool) -> Float32[Tensor, "image row2 column2"]:
    """Returns images with brightness from 0 to 1; ``mini`` ones of half the size, by the mean of four pixels.

    Example:
        >>> brightness(torch.tensor([[[255, 255], [0, 0]]], dtype=torch.uint8), mini=True)
        tensor([[[0.5000]]])
    """
    bright = images.float() / 255
    return torch.nn.functional.avg_pool2d(bright, 2) if mini else bright


class MNISTFashionData(AnalysedData):
    """MNIST and Fashion-MNIST for one net, or two drawn tasks that stand in for them where there are none.

    A batch holds images [example, row, column] with brightness from 0 to 1, and labels [example, task], -1 where an
    example has no label of a task. The order of the training examples is a pure function of (seed, epoch) that ranks
    share, and continues exactly when a run is resumed. Validation is on test images, the analysis set is of training
    images, half of each task.

    Args:
        layout: How the tasks share the net, the same as in the model: ``mix20``, ``super``, ``concat`` or ``share10``;
            see :mod:`llc_lightning.data.layouts`.
        source: Where the images come from: ``folder``, ``hub``, ``embedded``, or ``auto``, the first of these that
            there is; see :func:`llc_lightning.data.image_sources.load_images`.
        folder: The folder with the folders ``mnist`` and ``fashion_mnist`` of the official idx files; by default the
            one that the environment variable LLC_LIGHTNING_DATA names.
        hub: Names on the Hugging Face hub, of MNIST and of Fashion-MNIST.
        mini: Whether images are 14 x 14 instead of 28 x 28, the same as in the model.
        batch_size: Examples in a training batch, on each rank.
        train_size: Images of each task to train on, from the first on; None for all.
        validation_size: Images of each task to validate on, from the first on; None for all, 0 for no validation.
        analysis_size: Examples of the analysis set, on which the LLC and ablations are measured; at least 10 times
            ``n_beta``, or the LLC is biased.
        seed: The run's seed; the order of the examples follows from it.

    Raises:
        SettingError: If a name is unknown or a number is out of range.
    """

    def __init__(
        self,
        layout: str = "mix20",
        *,
        source: str = "auto",
        folder: str | None = None,
        hub: Sequence[str] = HUB,
        mini: bool = False,
        batch_size: int = 128,
        train_size: int | None = None,
        validation_size: int | None = None,
        analysis_size: int = 16_384,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        at_least(1, batch_size=batch_size, analysis_size=analysis_size, **unless_none(train_size=train_size))
        at_least(0, **unless_none(validation_size=validation_size))
        # Lightning refuses to log settings that model and data share by name but not by value, such as their seeds.
        self.save_hyperparameters(logger=False)
        self.layout = make_layout(layout)
        self.source = source
        self.folder = folder
        self.hub = hub
        self.mini = mini
        self.batch_size = batch_size
        self.train_size = train_size
        self.validation_size = validation_size
        self.analysis_size = analysis_size
        self._images: ImagePair | None = None

    @property
    def images(self) -> ImagePair:
        """The images, which are looked for at the first time.

        Raises:
            DataError: If they cannot be had.
        """
        if self._images is None:
            self._images = load_images(self.source, folder=self.folder, hub=self.hub)
            _say(f"images: {self._images.told}")
        return self._images

    @property
    def task_names(self) -> tuple[str, str]:
        """The names of the tasks: ``mnist`` and ``fashion``, or those of the drawn ones."""
        first, second = self.images.tasks
        return first.name, second.name

    def setup(self, stage: str) -> None:
        """Gets the images; all ranks get those that rank 0 has chosen.

        Raises:
            DataError: If they cannot be had.
            MeasurementError: If they cannot be had on one of several ranks.
        """
        if self.trainer is None or self.trainer.world_size == 1:
            _ = self.images
            return
        workers = Workers.of(self.trainer)
        origin: Any = workers.gather(workers.on_zero(lambda: self.images.origin))[0]
        self.source = origin
        workers.jointly(lambda: self.images.origin)

    def provenance(self) -> dict[str, Any]:
        """Returns where the images come from, for the run's provenance."""
        return {"images": self.images.origin, "tasks": list(self.task_names), "from": self.images.told}

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint remembers: where the images come from."""
        return {"images": self.images.origin}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks that a run goes on with the images that it began with.

        Raises:
            DataError: If it does not.
        """
        before, now = state_dict["images"], self.images.origin
        if ("embedded" in (before, now)) and before != now:
            raise DataError(
                f"the checkpoint was trained on images from {before!r}, but now they are from {now!r}: "
                f"{self.images.told}; give the same source."
            )

    def train_dataloader(self) -> EpochLoader:
        """Returns this rank's training batches."""
        source = self._source("train", [task.train.first(self.train_size) for task in self.images.tasks])
        return self.loader(source, source.order, source.n_items, items_per_batch=self.batch_size)

    def val_dataloader(self) -> EpochLoader | list[EpochLoader]:
        """Returns this rank's validation batches, the same in every epoch."""
        if self.validation_size == 0:
            return []
        source = self._source("validation", [task.test.first(self.validation_size) for task in self.images.tasks])
        return self.loader(source, "fixed", source.n_items, items_per_batch=_VALIDATION_BATCH)

    def make_analysis_set(self) -> Batch:
        """Chooses training images; where an example holds one image, the tasks take turns.

        Raises:
            DataError: If there are too few.
        """
        sets = [task.train.first(self.train_size) for task in self.images.tasks]
        source = self._source("analysis", sets)
        most = source.n_items if self.layout.pairs else 2 * min(map(len, sets))
        if self.analysis_size > most:
            raise DataError(
                f"analysis_size is {self.analysis_size}, but there are training images for {most} examples; give at "
                "most that, or raise train_size."
            )
        if self.layout.pairs:
            return source.batch(torch.arange(self.analysis_size))
        orders = [torch.randperm(len(one), generator=generator(self.seed, "analysis", i)) for i, one in enumerate(sets)]
        half = -(-self.analysis_size // 2)
        turns = torch.stack((orders[0][:half], orders[1][:half] + len(sets[0])), dim=1).flatten()
        return source.batch(turns[: self.analysis_size])

    def _source(self, kind: str, sets: Sequence[ImageSet]) -> Either | Both:
        if self.layout.pairs:
            return Both(self.layout, sets, mini=self.mini, seed=self.seed, kind=kind)
        return Either(self.layout, sets, mini=self.mini)


@rank_zero_only
def _say(text: str) -> None:
    print(text)
