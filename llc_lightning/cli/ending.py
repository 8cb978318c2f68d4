"""How a command ends: what it wrote, and what to type next."""

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

_SHOWN = 3


def analyze(command: str, *words: Path | str) -> str:
    """Returns a call of analyze.py as a shell reads it.

    Example:
        >>> analyze("report", Path("my runs/version_0"))
        "python analyze.py report 'my runs/version_0'"
    """
    return " ".join(["python analyze.py", command, *map(quoted, words)])


def quoted(word: Path | str) -> str:
    """Returns a path, or another word, as a shell reads it."""
    return shlex.quote(str(word))


def following(then: str) -> str:
    """Returns the line that says what to type next."""
    return f"next: {then}"


def end(options: Namespace, written: Sequence[Path], then: str, **more: object) -> None:
    """Says what was written and what to type next; ``more`` stands in the JSON alone."""
    if options.json:
        record = {"written": [str(path) for path in written], **more, "next": then}
        sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")
        return
    few = [str(path) for path in written[:_SHOWN]]
    rest = [f"and {len(written) - _SHOWN} more files"] if len(written) > _SHOWN else []
    said = f"wrote {', '.join([*few, *rest])}" if written else "nothing to do: all of it was there already"
    sys.stdout.write(f"{said}\n{following(then)}\n")
