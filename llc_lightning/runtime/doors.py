"""How a user calls the two commands: by the files of a checkout, or by the installed program."""

import shlex
import sys
from pathlib import Path

PROGRAM = "llc-lightning"
_CHECKOUT = Path(__file__).parents[2]


def call(door: str, *words: Path | str) -> str:
    """Returns a call of a command as a shell reads it, in the way in which this process was called.

    Args:
        door: ``train`` or ``analyze``.
        *words: Its arguments.

    Example:
        >>> call("analyze", "report", Path("my runs/version_0"))
        "llc-lightning analyze report 'my runs/version_0'"
    """
    script = Path(sys.argv[0])
    ours = script.name in ("train.py", "analyze.py") and script.resolve().parent == _CHECKOUT
    start = ["python", shlex.quote(str(script.with_name(f"{door}.py")))] if ours else [PROGRAM, door]
    return " ".join([*start, *(shlex.quote(str(word)) for word in words)])
