"""Labelled images of two tasks, and where they come from."""

from dataclasses import dataclass

from jaxtyping import Int64, UInt8
from torch import Tensor

from llc_lightning.runtime.errors import DataError

CLASSES = 10
"""Classes of each task."""
SIZE = 28
"""Rows and columns of an image."""


@dataclass(frozen=True)
class ImageSet:
    """Labelled images."""

    images: UInt8[Tensor, "image row column"]
    """Brightness from 0 to 255."""
    labels: Int64[Tensor, "image"]
    """Classes, from 0 to 9."""

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, n: int | None) -> "ImageSet":
        """Returns the first ``n`` images; all of them for None.

        Raises:
            DataError: If there are fewer.
        """
        if n is not None and n > len(self):
            raise DataError(f"{n} images of a task were asked for, but there are {len(self)}; ask for at most that.")
        return ImageSet(self.images[:n], self.labels[:n])


@dataclass(frozen=True)
class ImageTask:
    """One task: to tell the classes of its images."""

    name: str
    """``mnist``, ``fashion``, or that of a drawn task."""
    train: ImageSet
    test: ImageSet


@dataclass(frozen=True)
class ImagePair:
    """Two tasks with images of the same size, and where they are from."""

    tasks: tuple[ImageTask, ImageTask]
    origin: str
    """``folder``, ``hub`` or ``embedded``."""
    told: str
    """The same for people, with the path or the names."""
