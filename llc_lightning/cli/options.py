"""The parser of ``analyze.py``: options are never abbreviated, and what is wrong is said in one sentence."""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

from llc_lightning.runtime.errors import nearest

TABLES = (".csv", ".parquet", ".json")


class Options(argparse.ArgumentParser):
    """A parser whose errors are one sentence, the last line on stderr, with exit code 2.

    Args:
        *args: As of argparse.
        fill: Adds options when they are first needed: what it imports, other commands do without.
        **kwargs: As of argparse.
    """

    def __init__(self, *args: Any, fill: "Callable[[Options], None] | None" = None, **kwargs: Any) -> None:
        kwargs = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **kwargs}
        super().__init__(*args, **kwargs)
        self._fill = fill

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Knows no unknown arguments: a subcommand says by itself what it does not know."""
        if self._fill:
            self._fill, fill = None, self._fill
            fill(self)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Says what is wrong and exits with 2."""
        sys.stderr.write(f"error: {self.sentence(message)}\n")
        sys.exit(2)

    def sentence(self, message: str) -> str:
        """Returns what argparse says as a sentence that names what is allowed."""
        if found := re.match(r"unrecognized arguments: (.+)", message):
            return self._unknown(found[1].split())
        if found := re.match(r"argument (\S+): invalid choice: '?([^']*?)'? \(choose from (.+)\)", message):
            allowed = found[3].replace("'", "").split(", ")
            close = nearest(found[2], allowed)
            question = f"; did you mean {' or '.join(close)}?" if close else "."
            return f"unknown {found[1]} {found[2]!r}{question} Use one of: {', '.join(allowed)}."
        if found := re.match(r"argument (\S+): (.+)", message, re.DOTALL):
            return f"{found[1]} {found[2].rstrip('.')}."
        if found := re.match(r"the following arguments are required: (.+)", message):
            return f"{found[1]} {'are' if ',' in found[1] else 'is'} missing; `{self.prog} --help` says what to give."
        return f"{message.rstrip('.')}."

    def _unknown(self, words: list[str]) -> str:
        name = next((word for word in words if word.startswith("-")), words[0]).split("=")[0]
        if not name.startswith("-"):
            return f"{name!r} is one argument too many; `{self.prog} --help` says what to give."
        close = nearest(name, self._option_string_actions)
        question = f"did you mean {' or '.join(close)}? " if close else ""
        return f"unknown option {name!r}; {question}`{self.prog} --help` lists all options."


def run_folder(one: Options, such_as: str = "checkpoints/cis/version_0") -> None:
    """Adds the run to read."""
    one.add_argument("run", metavar="RUN", type=Path, help=f"folder of a run, such as {such_as}")


def own_code(one: Options) -> None:
    """Adds where the model and the examples of a run come from that no configuration tells."""
    told = "FILE:FUNCTION, which takes nothing and returns the {}, for a run that your own script trained"
    one.add_argument("--module", default="", metavar="FILE:FUNCTION", help=told.format("module, of any weights"))
    one.add_argument("--data", default="", metavar="FILE:FUNCTION", help=told.format("examples to measure on"))


def again(options: argparse.Namespace, *names: str) -> list[str]:
    """Returns the words that give a command the same options again, without those that are empty or ``*``.

    Example:
        >>> again(argparse.Namespace(step=0, among=["a", "b"], joined=True, mask=""), "step", "among", "joined")
        ['--step', '0', '--among', 'a', 'b', '--joined']
    """
    words: list[str] = []
    for name in names:
        value: Any = getattr(options, name)
        several: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        if value is True:
            words += [f"--{name}"]
        elif value is not None and value is not False and several not in ([], [""], ["*"]):
            words += [f"--{name}", *map(str, several)]
    return words


def level(one: Options) -> None:
    """Adds the probability of intervals."""
    one.add_argument(
        "--level", type=probability, default=0.95, metavar="P", help="probability of the intervals (default: 0.95)"
    )


def common(one: Options, **kwargs: Any) -> None:
    """Adds the options of every command; ``kwargs`` go to each of them."""
    one.add_argument("--json", action="store_true", help="print JSON and nothing else", **kwargs)
    one.add_argument("--debug", action="store_true", help="show the traceback of an error", **kwargs)


def probability(text: str) -> float:
    """Reads a probability strictly between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"is {text}; give a probability between 0 and 1, such as 0.95")
    return value


def step(text: str) -> int:
    """Reads a training step."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"is {text}; give whole numbers from 0 up")
    return int(text)


def whole(text: str) -> int:
    """Reads an integer."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {text}; give whole numbers, such as 3") from None


def number(text: str) -> float:
    """Reads a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {text}; give numbers, such as 0.5") from None


def table_file(text: str) -> Path:
    """Reads the path of a table to write."""
    path = Path(text)
    if path.suffix not in TABLES:
        raise argparse.ArgumentTypeError(f"is {text}; give a file that ends in {', '.join(TABLES)}")
    return path
