"""What every test gets, the examples in docstrings too: the plugins in ``tests/hygiene``, and the data folder."""

import fcntl
import gc
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

collect_ignore = ["tests/look", "tests/release"]  # for make, which installs what they need
pytest_plugins = [
    "tests.hygiene.annotations",
    "tests.hygiene.clean_tree",
    "tests.hygiene.no_network",
    "tests.hygiene.same_state",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects in one worker after the other in CI's new environment: what the first compiles is there for the next."""
    if not os.environ.get("CI"):
        return (yield)
    with Path(sys.prefix, ".collecting").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Lets the garbage collector leave alone what stays anyway: all that was imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets that LLC_LIGHTNING_DATA names; without it, tests that ask for it are skipped."""
    named = os.environ.get("LLC_LIGHTNING_DATA", "")
    if not named or not Path(named).is_dir():
        pytest.skip(f"needs real data: set LLC_LIGHTNING_DATA to its folder (now {named!r})")
    return Path(named)
