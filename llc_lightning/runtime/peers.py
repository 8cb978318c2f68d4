"""The other processes of a run: whether they live, and what they tell while everybody works.

Processes talk in collectives, which wait for all. A measurement lasts minutes, and on one of them a signal may come, an
error may be raised, or the system may kill it meanwhile. So a thread of each tells once a second, in a store that rank
0 serves, that it lives, and looks what the others tell; long work asks ``stop_if_asked`` what the thread has found.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from llc_lightning.runtime.errors import LostError
from llc_lightning.runtime.signals import SIGNALS

PERIOD = 1.0
"""Seconds between two signs of life."""
LOST = 15.0
"""Seconds without one after which a process counts as lost; one that is merely slow gives them."""
GRACE = 8.0
"""Seconds that a process has to end by itself once another is lost, before its thread ends it."""


@runtime_checkable
class Child(Protocol):
    """A process that this one has started."""

    def poll(self) -> int | None:
        """Returns its exit code; None while it runs."""
        ...


class Peers:
    """Watches the other processes; every process must make one at the same time.

    Args:
        rank: The number of this process.
        world_size: The number of processes.
        tell: Gives every process what the first one says.
    """

    def __init__(self, rank: int, world_size: int, tell: Callable[[str], str]) -> None:
        self.rank, self.world_size = rank, world_size
        self.lost = ""
        """Which process is lost, in a sentence; '' if none is."""
        self.children: dict[int, Child] = {}
        """Processes that this one has started, by their rank."""
        self.ends = False
        """Whether the thread ends this process if another is lost and it does not end by itself."""
        server = _store("localhost", 0, serves=True) if rank == 0 else None
        place = tell(f"{_host()} {server.port}" if server else "")
        self._server = server
        self._store, self._own = (_store(*place.split(" ")) for _ in range(2))
        self._round = 0
        self._failing = False
        """Whether this one has failed in this round, so that what it still looks at is of use."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="llc-lightning-peers", daemon=True)
        self._thread.start()

    def meet(self) -> None:
        """Waits until every process has come here, however slow it is.

        Raises:
            LostError: If one is lost.
        """
        key, store = f"met/{self._round}", self._store
        try:
            if store.add(key, 1) == self.world_size:
                store.set(f"{key}/all", "")
            began = time.monotonic()
            while not store.check([f"{key}/all"]):  # store.wait prints a warning for each second
                self.check()
                time.sleep(min(max((time.monotonic() - began) / 20, 0.001), 0.1))
        except RuntimeError as error:  # of a store whose process is gone
            raise self.why(error) from error
        if self.rank == 0 and self._round:
            for old in (f"met/{self._round - 1}", f"met/{self._round - 1}/all", f"failed/{self._round - 1}"):
                store.delete_key(old)
        self._round += 1
        self._failing = SIGNALS.elsewhere = False

    def failed(self) -> None:
        """Tells the others, who are at work, that this one has failed: what they still do is of no use."""
        from contextlib import suppress

        self._failing, SIGNALS.elsewhere = True, False
        with suppress(RuntimeError):
            self._store.set(f"failed/{self._round}", "")

    def check(self) -> None:
        """Does nothing while all live.

        Raises:
            LostError: If one is lost.
        """
        if self.lost:
            raise LostError(self.lost)

    def why(self, error: BaseException) -> LostError:
        """Returns why processes cannot talk: which one is lost, if that is found within the time it takes."""
        until = time.monotonic() + LOST + 2 * PERIOD
        while not self.lost and self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.05)
        return LostError(self.lost or f"another process cannot be reached ({_first_line(error)}); {_REMEDY}")

    def leave(self) -> None:
        """Watches no longer."""
        self._over.set()

    def _watch(self) -> None:
        seen: dict[int, tuple[str, float]] = {}
        beats, since, looked = 0, 0.0, time.monotonic()
        while not self._over.wait(PERIOD if not self.lost else PERIOD / 4):
            beats += 1
            if time.monotonic() - looked > LOST / 2:
                seen.clear()  # it was held up itself: the silence of the others says nothing
            looked = time.monotonic()
            try:
                self._look(seen, beats)
            except RuntimeError:
                self.lost = self.lost or _sentence(0, "it does not answer")
            since = since or (time.monotonic() if self.lost else 0.0)
            SIGNALS.elsewhere = SIGNALS.elsewhere or bool(self.lost)
            if self.lost and self.ends and time.monotonic() - since > GRACE:
                sys.stderr.write(f"error: {self.lost}\n")
                sys.stderr.flush()
                os._exit(1)

    def _look(self, seen: dict[int, tuple[str, float]], beats: int) -> None:
        """Gives a sign of life, and looks for those of the others and for what they tell."""
        store, round_ = self._own, self._round
        store.set(f"beat/{self.rank}", str(beats))
        if SIGNALS.noted and not SIGNALS.told:
            SIGNALS.told = True
            store.set("signal", str(SIGNALS.noted))
        elif not SIGNALS.noted and store.check(["signal"]):
            SIGNALS.noted = int(store.get("signal"))
        if not self._failing and store.check([f"failed/{round_}"]) and round_ == self._round:
            SIGNALS.elsewhere = True
        if store.check(["lost"]):
            self.lost = self.lost or store.get("lost").decode()
        for rank in range(1, self.world_size) if self.rank == 0 else [0]:
            why = self._silent(rank, seen)
            if why and not self.lost:
                self.lost = _sentence(rank, why)
                store.set("lost", self.lost)

    def _silent(self, rank: int, seen: dict[int, tuple[str, float]]) -> str:
        """Returns why a process counts as lost; '' if it lives."""
        code = self.children[rank].poll() if rank in self.children else None
        if code:
            return f"it was killed by signal {-code}" if code < 0 else f"it ended with code {code}"
        key = f"beat/{rank}"
        beat = self._own.get(key).decode() if self._own.check([key]) else ""
        before, at = seen.get(rank, (beat, time.monotonic()))
        if beat != before or rank not in seen:
            seen[rank] = beat, time.monotonic()
            return ""
        return f"it has given no sign of life for {LOST:.0f} s" if time.monotonic() - at > LOST else ""


_REMEDY = "continue the run with --ckpt_path last"


def _sentence(rank: int, why: str) -> str:
    return f"rank {rank} is lost: {why}; {_REMEDY}"


def _host() -> str:
    return os.environ.get("MASTER_ADDR", "") or socket.gethostname()


def _store(host: str, port: int | str, *, serves: bool = False) -> Any:
    from torch import distributed

    untyped: Any = distributed
    return untyped.TCPStore(host, int(port), None, is_master=serves, wait_for_workers=False)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
