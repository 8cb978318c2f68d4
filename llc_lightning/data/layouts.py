"""The ways to put two image tasks into one net."""

from dataclasses import dataclass

from llc_lightning.data.image_sets import CLASSES, SIZE
from llc_lightning.runtime.registry import NoFacts, Registry


@dataclass(frozen=True)
class Layout:
    """How two tasks share a net: one image in an example or two, one head for both or one each."""

    name: str
    heads: int
    """Softmaxes: one that both tasks share, or one for each."""
    classes: int
    """Classes of a head."""
    pairs: bool
    """Whether an example holds an image of each task."""
    wide: bool = False
    """Whether these lie side by side."""

    @property
    def offsets(self) -> tuple[int, int]:
        """What is added to the labels of each task; 0 and 10 where they share one head without sharing classes."""
        return (0, self.classes - CLASSES)

    def image_shape(self, *, mini: bool) -> tuple[int, int]:
        """Returns rows and columns of an example."""
        size = SIZE // 2 if mini else SIZE
        return (size, 2 * size if self.wide else size)


LAYOUTS: Registry[Layout, NoFacts] = Registry("layout", NoFacts)
"""Layouts by name."""


def make_layout(name: str) -> Layout:
    """Returns the layout called ``name``.

    Raises:
        SettingError: If there is none of that name.

    Example:
        >>> make_layout("concat").image_shape(mini=False)
        (28, 56)
    """
    return LAYOUTS.get(name).item


def _enter(layout: Layout, summary: str) -> None:
    LAYOUTS.register(layout.name, summary=summary)(layout)


_enter(Layout("mix20", 1, 2 * CLASSES, pairs=False), "an image of either task, one head with the classes of both")
_enter(Layout("super", 2, CLASSES, pairs=True), "the mean of an image of each task, a head for each")
_enter(Layout("concat", 2, CLASSES, pairs=True, wide=True), "an image of each task side by side, a head for each")
_enter(Layout("share10", 1, CLASSES, pairs=False), "an image of either task, one head whose ten classes serve both")
