"""Runs a script as a user does, in a process of its own, without the seconds that importing Lightning takes each time.

The processes are forked from one that has imported what the script needs, and nothing else.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["llc_lightning.cli.fit", "llc_lightning.models", "llc_lightning.data", "llc_lightning.report.tensorboard"]
)


class Script:
    """A script that has been started, in a session of its own, as a terminal would.

    Args:
        command: The script and its arguments.
        folder: Where it runs.
    """

    def __init__(self, *command: str, folder: Path) -> None:
        self._command = command
        self._said = tempfile.TemporaryDirectory()
        streams = [str(Path(self._said.name, name)) for name in ("stdout", "stderr")]
        self._process = _CONTEXT.Process(target=_run, args=(command, str(folder), *streams))
        self._process.start()

    def ended(self) -> bool:
        """Says whether it has ended."""
        return not self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it is still there."""
        assert self._process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def finish(self, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Waits for its end, and returns its exit code and what it said."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(f"{self._command} took longer than {timeout} s")
        said = [Path(self._said.name, name).read_text() for name in ("stdout", "stderr")]
        self._said.cleanup()
        return subprocess.CompletedProcess(self._command, self._process.exitcode, *said)


def _run(command: tuple[str, ...], folder: str, stdout: str, stderr: str) -> None:
    os.setsid()
    os.chdir(folder)
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
    sys.argv = list(command)
    runpy.run_path(command[0], run_name="__main__")
