"""Freed memory stays in the process, where the C library allows it."""

import sys

import pytest

from llc_lightning.runtime import allocator


@pytest.fixture(autouse=True)
def _asked_anew() -> None:
    allocator.keep_freed_memory.cache_clear()


def test_works_on_linux_and_does_nothing_the_second_time() -> None:
    assert allocator.keep_freed_memory() is sys.platform.startswith("linux")
    assert allocator.keep_freed_memory() is sys.platform.startswith("linux")


def test_does_nothing_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False


def test_does_nothing_with_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert allocator.keep_freed_memory() is False
