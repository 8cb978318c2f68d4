"""The command ``llc-lightning``: train, analyze, init. It imports nothing heavy."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from llc_lightning.runtime.doors import PROGRAM
from llc_lightning.runtime.errors import unknown

VERSION = import_module("llc_lightning").__version__
HELP = f"""
{PROGRAM} {VERSION}: local learning coefficients and ablation effects, measured while a network trains.

    {PROGRAM} train      trains a network, and measures while it trains
    {PROGRAM} analyze    reads a run, finished or not: what it found, its figures, its numbers
    {PROGRAM} init       writes a configuration and a module of your own to begin with

`{PROGRAM} COMMAND --help` shows how. `{PROGRAM} train fit -c smoke/cis` takes less than a minute.
"""
DOORS = ("train", "analyze", "init")
OK, USAGE = 0, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
        argv: The arguments, without the program; by default those of this process.
    """
    door, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if door in ("", "-h", "--help"):
        print(HELP.strip())
        return OK if door else USAGE
    if door == "--version":
        print(VERSION)
        return OK
    if door not in DOORS:
        sys.stderr.write(f"error: {unknown('command', door, DOORS)}\n")
        return USAGE
    # So that a configuration can name a module in the folder where the command is given, as with ``python -m``.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return import_module(f"llc_lightning.cli.{door}").main(rest)
    finally:
        _leave_the_group()


def _leave_the_group() -> None:
    """Ends the threads of a group of processes, which otherwise can abort the interpreter while it shuts down."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
