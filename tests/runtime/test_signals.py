"""Signals that come, here and elsewhere, and what is a second Ctrl-C."""

import signal

import pytest

from llc_lightning.runtime.signals import Signals


@pytest.mark.parametrize("elsewhere", [0, signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_does_not_wait_whatever_another_process_has_told(elsewhere: int) -> None:
    signals = Signals()
    signals.noted = int(elsewhere)
    signals._note(signal.SIGINT, None)
    assert signals.noted == (elsewhere or signal.SIGINT), "the first that came counts"
    with pytest.raises(KeyboardInterrupt):
        signals._note(signal.SIGINT, None)


def test_a_scheduler_may_repeat_itself() -> None:
    signals = Signals()
    for _ in range(3):
        signals._note(signal.SIGTERM, None)
    assert signals.noted == signal.SIGTERM
