"""What a process does when another tells of a failure, and when it was the one that failed."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from llc_lightning.runtime import peers as room
from llc_lightning.runtime.peers import LOST, Peers
from llc_lightning.runtime.signals import SIGNALS


class Store:
    """A store in which somebody has told of a failure in the first round."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {"failed/0": "", "beat/0": b"1"}

    def check(self, keys: list[str]) -> bool:
        return all(key in self.told for key in keys)

    def get(self, key: str) -> Any:
        return self.told[key]

    def set(self, key: str, value: str) -> None:
        self.told[key] = value.encode()


@pytest.fixture
def peers() -> Iterator[Peers]:
    """The second of two processes, without its thread."""
    one = object.__new__(Peers)
    one.rank, one.world_size, one.lost, one.children = 1, 2, "", {}
    one._own = one._store = Store()
    one._round, one._failing = 0, False
    SIGNALS.elsewhere = False
    yield one
    SIGNALS.elsewhere = False


def test_a_failure_elsewhere_ends_what_is_done_here(peers: Peers) -> None:
    peers._look({}, 1)
    assert SIGNALS.elsewhere


def test_the_one_that_failed_is_not_stopped_by_its_own_word(peers: Peers) -> None:
    peers.failed()
    peers._look({}, 1)
    assert not SIGNALS.elsewhere


class Over:
    """The seconds that pass between the looks of a thread; over after the last."""

    def __init__(self, seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.now = iter(seconds), 100.0
        monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: self.now))

    def wait(self, period: float) -> bool:
        passed = next(self.seconds, None)
        self.now += passed or 0.0
        return passed is None


def test_a_pause_of_all_processes_is_no_loss(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other one, held up as long, gives a sign of life a little later than this one looks.
    peers._over = Over([1, 1, 600, 1, 1], monkeypatch)
    peers._watch()
    assert peers.lost == ""


def test_one_that_is_silent_while_this_one_looks_is_lost(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    peers._over = Over([1.0] * (int(LOST) + 3), monkeypatch)
    peers.ends = False
    peers._watch()
    assert peers.lost == (
        "rank 0 is lost: it has given no sign of life for 15 s; continue the run with --ckpt_path last"
    )
