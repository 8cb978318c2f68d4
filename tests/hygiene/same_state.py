"""Every test begins as if it were the first: environment, threads and numerics are the same before and after it."""

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

# Lightning, torch and the launchers of processes set these while they work.
SET_BY_LIBRARIES = (
    "PL_",
    "PYTORCH",
    "TORCH",
    "KMP_",
    "CUDA_",
    "CUBLAS_",
    "TF",
    "MASTER_",
    "NODE_",
    "LOCAL_",
    "RANK",
    "WORLD_",
    "PYTEST_",
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def pytest_configure() -> None:
    """Tells libraries, here and in processes started from here, to use one thread and no window."""
    os.environ["MPLBACKEND"] = "agg"
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Gives back environment, working directory and signal handlers; changing one of the first two fails the test."""
    environment, folder = dict(os.environ), Path.cwd()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    left, moved = dict(os.environ), Path.cwd()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    changed = [name for name in sorted(left.keys() | environment) if left.get(name) != environment.get(name)]
    changed = [name for name in changed if not name.startswith(SET_BY_LIBRARIES)]
    assert not changed, f"the test left environment variables changed: {changed}"
    assert moved == folder, f"the test left the working directory changed: {moved}"


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """Fails a test that leaves a thread running that would keep the process alive."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in left:
        thread.join(timeout=5)
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"the test left threads running: {alive}"


@pytest.fixture(autouse=True)
def _same_numerics() -> Iterator[None]:
    """Seeds every test alike, and gives back torch's global switches; closes process groups and figures."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries still draw from it
    torch = sys.modules.get("torch")
    if torch is None:
        yield
    else:
        torch.manual_seed(0)
        switches = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
        deterministic = torch.are_deterministic_algorithms_enabled()
        yield
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        torch.set_default_dtype(switches[0])
        torch.set_grad_enabled(switches[1])
        torch.set_num_threads(switches[2])
        torch.use_deterministic_algorithms(deterministic)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
