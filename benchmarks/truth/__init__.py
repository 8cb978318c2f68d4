"""The table of truth: every case whose value is known exactly, estimated at the defaults, with what came of it."""

from benchmarks.truth.command import main

__all__ = ["main"]
