"""Runs a script as a user does, in a process of its own, without the seconds that importing Lightning takes each time.

The processes are forked from one that has imported what the scripts need, and nothing else. So are the further ones
that Lightning starts for a script that trains on several: they wait from the beginning, and get what it gives to
``subprocess.Popen``.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

FORKED = "forkserver"
"""How libraries start processes that are forked from the same one."""
_CONTEXT = multiprocessing.get_context(FORKED)
_CONTEXT.set_forkserver_preload(
    ["llc_lightning.cli.fit", "llc_lightning.models", "llc_lightning.data", "llc_lightning.report.tensorboard"]
)
_FORK = multiprocessing.get_context("fork")


class Script:
    """A script that has been started, in a session of its own, as a terminal would.

    Args:
        command: The script and its arguments.
        folder: Where it runs.
        processes: How many Lightning starts for it, this one included.
        environment: What is added to the environment; folders in ``PYTHONPATH`` are searched for modules.
    """

    def __init__(
        self, *command: str, folder: Path, processes: int = 1, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._said = tempfile.TemporaryDirectory()
        streams = [str(Path(self._said.name, name)) for name in ("stdout", "stderr")]
        how = (str(folder), *streams, processes, dict(environment or {}))
        self._process = _CONTEXT.Process(target=_run, args=(command, *how))
        self._process.start()

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process.pid is not None
        return self._process.pid

    def ended(self) -> bool:
        """Says whether it has ended."""
        return not self._process.is_alive()

    def send(self, number: signal.Signals, *, everybody: bool = False) -> None:
        """Sends it a signal, if it is still there; or also the processes that are started for it."""
        assert self._process.pid is not None
        with suppress(ProcessLookupError):
            (os.killpg if everybody else os.kill)(self._process.pid, number)

    def all_ended(self) -> bool:
        """Says whether the processes that were started for it have ended too."""
        assert self._process.pid is not None
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def finish(self, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Waits for its end, and returns its exit code and what it said."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            assert self._process.pid is not None
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()
            raise TimeoutError(f"{self._command} took longer than {timeout} s")
        said = [Path(self._said.name, name).read_text() for name in ("stdout", "stderr")]
        self._said.cleanup()
        return subprocess.CompletedProcess(self._command, self._process.exitcode, *said)


def run(*command: str, folder: Path, timeout: float = 240, **how: object) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end; further arguments are those of :class:`Script`."""
    return Script(*command, folder=folder, **how).finish(timeout)


class _Waiting:
    """A further process, which waits for its environment; to Lightning it looks like what ``Popen`` returns."""

    def __init__(self, command: tuple[str, ...]) -> None:
        received, self._given = _FORK.Pipe(duplex=False)
        self._process = _FORK.Process(target=_wait_and_run, args=(received, self._given, command))
        self._process.start()
        self.pid = self._process.pid

    def begin(self, environment: Mapping[str, str]) -> "_Waiting":
        self._given.send(dict(environment))
        return self

    def forget(self) -> None:
        self._given.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.pid is not None and self.returncode is None:
            os.kill(self.pid, number)


def _run(
    command: tuple[str, ...], folder: str, stdout: str, stderr: str, processes: int, environment: dict[str, str]
) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
    os.chdir(folder)
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    os.environ.update(environment)
    further = [_Waiting(command) for _ in range(processes - 1)]
    rest = iter(further)
    from lightning.pytorch.strategies.launchers import subprocess_script

    subprocess_script.subprocess = SimpleNamespace(Popen=lambda _, env, cwd: next(rest).begin(env))
    try:
        _main(command)
    finally:
        for process in further:
            process.forget()


def _wait_and_run(received: Connection, given: Connection, command: tuple[str, ...]) -> None:
    given.close()  # so that this one ends when the first process does
    with suppress(EOFError):
        environment = received.recv()
        os.environ.clear()
        os.environ.update(environment)
        _main(command)


def _main(command: tuple[str, ...]) -> None:
    sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.argv = list(command)
    runpy.run_path(command[0], run_name="__main__")
