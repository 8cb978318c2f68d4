"""Tests that need a GPU; where there is none they are skipped with one line."""

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what is in this folder where there is no GPU."""
    if not torch.cuda.is_available():
        for item in items:
            if "tests/gpu/" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="no GPU at hand"))
