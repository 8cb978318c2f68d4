"""What every test gets: no network, nothing leaked into the next test or the checkout, and the data folder.

Shapes and types in the package's annotations are checked by jaxtyping and beartype, switched on in ``pyproject.toml``.
"""

import inspect
import os
import random
import re
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any, get_type_hints

import jaxtyping
import numpy as np
import pytest
from beartype import BeartypeConf, beartype

collect_ignore = ["tests/look"]  # for `make look`, which installs what it needs
ROOT = Path(__file__).parent
UNWATCHED = {".git", ".venv", ".peers", ".pytest_cache", ".ruff_cache", "__pycache__"}
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "MPLBACKEND": "agg",
}
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
LOCAL = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", socket.gethostname()}  # noqa: S104 - names, not a server
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


SHAPES = re.compile(r"(Float|Int|UInt|Bool|Num|Shaped)\d*\[")
CHECKED_CALLS = 200
"""Of every function in every test; a chain of thousands of steps shows in these what it shows in all."""
check_shapes = jaxtyping.jaxtyped
check_types = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))
calls_so_far: Counter[Callable[..., Any]] = Counter()


def check(function: Any = None, *, typechecker: Any) -> Any:
    """Checks shapes where an annotation has some, and types alone elsewhere, which is faster.

    Functions that are made anew in every call are left out: to prepare the check takes milliseconds each time.
    """
    if function is None:
        return partial(check, typechecker=typechecker)
    if inspect.isfunction(function) and "<locals>" in function.__qualname__:
        return function
    if not inspect.isfunction(function):
        return check_shapes(function, typechecker=typechecker)
    return often_called(
        function, check_shapes(function, typechecker=typechecker) if has_shapes(function) else check_types(function)
    )


def has_shapes(function: Callable[..., Any]) -> bool:
    """Says whether an annotation has a shape, also one that a name such as Draws stands for."""
    try:
        return bool(SHAPES.search(str(get_type_hints(function))))
    except (NameError, TypeError):  # for static checkers alone: not imported, or pandas' Series[bool]
        return True


def often_called(function: Callable[..., Any], checked: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the checked function, which is the plain one from some call of a test on."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        calls_so_far[function] += 1
        return (checked if calls_so_far[function] <= CHECKED_CALLS else function)(*args, **kwargs)

    return call


@pytest.fixture(autouse=True)
def _checks_begin_anew() -> None:
    calls_so_far.clear()


jaxtyping.jaxtyped = check  # what jaxtyping's hook puts around every function of the package


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the project's own option."""
    parser.addoption("--clean-tree", action="store_true", help="fail when the tests leave a new file in the checkout")


def pytest_configure() -> None:
    """Tells libraries, here and in processes started from here, to stay offline and on one thread."""
    os.environ.update(SETTINGS)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Fails a session that leaves new files in the checkout, where asked to; under xdist the controller looks."""
    if not session.config.getoption("--clean-tree") or hasattr(session.config, "workerinput"):
        return (yield)
    before = files_of_checkout()
    outcome = yield
    left = sorted(str(path.relative_to(ROOT)) for path in files_of_checkout() - before)
    if left:
        pytest.exit(f"the tests left {len(left)} new files in the checkout: {', '.join(left[:10])}", returncode=1)
    return outcome


def files_of_checkout() -> set[Path]:
    """Lists the files of the checkout, without environments and caches."""
    files: set[Path] = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in UNWATCHED]
        files.update(Path(folder, name) for name in names)
    return files


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets that LLC_LIGHTNING_DATA names; without it, tests that ask for it are skipped."""
    named = os.environ.get("LLC_LIGHTNING_DATA", "")
    if not named or not Path(named).is_dir():
        pytest.skip(f"needs real data: set LLC_LIGHTNING_DATA to its folder (now {named!r})")
    return Path(named)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Lets sockets reach this machine alone."""
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded(method: Callable[..., object]) -> Callable[..., object]:
        def call(self: socket.socket, address: object) -> object:
            if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
                _check_local(address[0])
            return method(self, address)

        return call

    def guarded_look_up(host: object, *args: object, **kwargs: object) -> object:
        _check_local(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(connect))
        patch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


def _check_local(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in LOCAL:
        raise OSError(f"tests do not use the network: connection to {name!r}")


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
