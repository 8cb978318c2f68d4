"""Runs the benchmarks: ``python -m benchmarks``, or some of them by name."""

from __future__ import annotations

import importlib
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version

import torch

ALL = ("chain_step",)


def main(names: list[str]) -> int:
    """Prints every benchmark's table under a line that says when and with what it was run."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"unknown benchmark {unknown[0]!r}; use one of: {', '.join(ALL)}.", file=sys.stderr)
        return 2
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "devinterp"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {packages}, one thread")
    torch.set_num_threads(1)
    return max(importlib.import_module(f"benchmarks.{name}").main() for name in names or ALL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
