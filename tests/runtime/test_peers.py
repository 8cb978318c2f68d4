"""What a process does when another tells of a failure, and when it was the one that failed."""

from collections.abc import Iterator
from typing import Any

import pytest

from llc_lightning.runtime.peers import Peers
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
