"""A peer as a process of its own, asked for one estimate after the other."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.networks import Problem

ROOT = Path(__file__).parents[2]
VERSIONS = {"devinterp_1": "devinterp-1.3.2", "devinterp_2": "devinterp-2.0.1"}
"""The environments of ``make peers`` by the name of the script that runs in them."""


@dataclass(frozen=True)
class Answer:
    """An estimate and the CPU seconds that it took."""

    value: float
    seconds: float


Peer = Callable[..., Answer]
"""Settings by name in, an answer out."""


def python_of(name: str) -> Path:
    """Returns the interpreter of a peer's environment, whether it is there or not."""
    return ROOT / ".peers" / VERSIONS[name] / "bin" / "python"


def missing() -> list[str]:
    """Returns the peers whose environment is not there."""
    return [VERSIONS[name] for name in VERSIONS if not python_of(name).exists()]


@contextmanager
def running(name: str, problem: Problem) -> Iterator[Peer]:
    """Gives a peer that works on one problem, on one thread, and ends it afterwards.

    Raises:
        RuntimeError: If it dies; with the last lines that it printed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w+") as log:
        path = Path(folder, "problem.pt")
        problem.save(str(path))
        command = [str(python_of(name)), "-m", "benchmarks.peers.serve", name, str(path)]
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process:

            def ask(**settings: float) -> Answer:
                assert process.stdin is not None
                assert process.stdout is not None
                print(json.dumps(settings), file=process.stdin, flush=True)
                line = process.stdout.readline()
                if not line:
                    log.seek(0)
                    raise RuntimeError(f"{VERSIONS[name]} died:\n{log.read()[-2000:]}")
                return Answer(**json.loads(line))

            try:
                yield ask
            finally:
                process.terminate()
