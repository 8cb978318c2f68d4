"""Freed memory stays in the process, where the C library allows it."""

import subprocess
import sys

import pytest

from llc_lightning.runtime import allocator


def test_works_on_linux_for_networks_of_any_size() -> None:
    assert allocator.keep_freed_memory() is sys.platform.startswith("linux")
    assert allocator.keep_freed_memory(10**9) is sys.platform.startswith("linux")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems take no such advice")
def test_large_blocks_are_kept_but_of_a_large_network_given_back() -> None:
    code = """
import sys, torch
from llc_lightning.runtime.allocator import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

keep_freed_memory(int(sys.argv[1]))
torch.zeros(2**23).sum()  # what torch itself begins with
hole, wall = torch.zeros(2**24), torch.zeros(2**12)
before = resident()
del hole
print(before - resident())
"""
    small, large = (
        int(subprocess.run([sys.executable, "-c", code, str(weights)], check=True, capture_output=True).stdout)
        for weights in (2**20, 2**25)
    )
    assert small < 2**25 < large


def test_does_nothing_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False


def test_does_nothing_with_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert allocator.keep_freed_memory() is False
