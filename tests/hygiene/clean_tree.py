"""Fails a session that leaves new files in the checkout, where ``--clean-tree`` asks for it."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNWATCHED = {".git", ".venv", ".peers", ".pytest_cache", ".ruff_cache", "__pycache__"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.addoption("--clean-tree", action="store_true", help="fail when the tests leave a new file in the checkout")


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Compares the files before and after; under xdist the controller does."""
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
