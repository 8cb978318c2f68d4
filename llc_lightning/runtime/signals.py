"""The signals that end a training: noted when they come, answered where the training can be continued.

A handler runs between any two instructions, also in the middle of an optimizer step or of a collective of several
processes. So it notes the signal and does nothing else. Long work asks :func:`stop_if_asked` now and then.
"""

import signal
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""How a process ends that a signal has stopped; 0 after any other, with which a scheduler asks for a new start."""


class Stopped(SystemExit):
    """A signal has stopped the training; not an error, and the code of the process says which signal it was.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(CODES.get(signal.Signals(number), 0))
        self.number = number


class ElsewhereError(BaseException):
    """Something has happened to another process, which will tell what; no error of this one."""


class Signals:
    """What signals this process has got, and what all processes of a training have agreed on."""

    def __init__(self) -> None:
        self.noted = 0
        """The first signal that came; 0 for none."""
        self.agreed = 0
        """The signal that all processes stop for; 0 for none."""
        self.told = False
        """Whether the other processes know of it."""
        self.elsewhere = False
        """Whether something has happened to another process, so that what this one does is of no use."""
        self._interrupted = False
        """Whether Ctrl-C was pressed here, whatever other processes have told."""
        self._before: dict[int, Any] = {}

    def watch(self, numbers: Iterable[int]) -> None:
        """Notes these signals from now on; outside of the main thread Python allows no handlers, and none is set."""
        self._clear()
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in numbers}

    def forget(self) -> None:
        """Gives the signals back to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        self._clear()

    def _clear(self) -> None:
        self.noted = self.agreed = 0
        self.told = self.elsewhere = self._interrupted = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait
        self._interrupted = self._interrupted or number == signal.SIGINT
        self.noted = self.noted or number


SIGNALS = Signals()
"""Those of this process, which has each signal once."""


def stop_if_asked() -> None:
    """Does nothing until a signal comes, or something has happened to another process; costs 0.1 microseconds.

    Raises:
        Stopped: If a signal was noted: what is under way is done when the training goes on.
        ElsewhereError: If another process has failed or is lost.
    """
    if SIGNALS.noted:
        raise Stopped(SIGNALS.noted)
    if SIGNALS.elsewhere:
        raise ElsewhereError


def stop_if_agreed() -> None:
    """Does nothing until all processes have agreed to stop.

    Raises:
        Stopped: Then.
    """
    if SIGNALS.agreed:
        raise Stopped(SIGNALS.agreed)
