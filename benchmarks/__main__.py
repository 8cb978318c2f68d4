"""Runs the usual benchmarks: ``python -m benchmarks``, or one by name, or some of its tables: ``... llc spread``."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

USUAL = ("llc", "ablation")
BY_NAME = (
    *USUAL,
    *("calibration", "circuits", "coverage", "directions", "following", "forecast", "found", "gpu", "influence"),
    *("optimal", "posterior", "processes", "scale", "scaling", "superposition", "truth", "under_ablation"),
)
"""One that takes long, or trains first, runs only when it is named."""


def main(arguments: list[str]) -> int:
    """Prints every benchmark's tables under a line that says when and with what they were made."""
    name, tables = (arguments[:1] or [None])[0], arguments[1:]
    if name is not None and name not in BY_NAME:
        print(f"unknown benchmark {name!r}; use one of: {', '.join(BY_NAME)}.", file=sys.stderr)
        return 2
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "lightning", "devinterp"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {packages}, one thread")
    print(f"{os.cpu_count()} cores of {_processor()}, load {os.getloadavg()[0]:.1f} at the start")
    print("CPU time, medians of rounds in turns")
    torch.set_num_threads(1)
    started = time.monotonic()
    status = max(importlib.import_module(f"benchmarks.{each}").main(tables) for each in ([name] if name else USUAL))
    print(f"\n{time.monotonic() - started:.0f} s")
    return status


def _processor() -> str:
    """Returns the name of the processor, on which ratios depend too."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
