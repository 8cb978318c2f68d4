"""How long work tells how far it is, without knowing who shows it."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Advance(Protocol):
    """Tells that some more of a task is done."""

    def __call__(self, n: int = 1, note: str = "") -> None:
        """Adds ``n`` finished units and shows ``note`` beside the task."""
        ...


@runtime_checkable
class Progress(Protocol):
    """Something that shows tasks: a bar beside Lightning's, a bar of the command line, or nothing."""

    def task(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Opens a task of ``total`` units; it is closed when the context ends, finished or not."""
        ...


def silent(n: int = 1, note: str = "") -> None:
    """Shows nothing."""


class NoProgress:
    """Shows nothing."""

    @contextmanager
    def task(self, description: str, total: int) -> Generator[Advance]:
        """Opens a task that nobody sees."""
        yield silent
