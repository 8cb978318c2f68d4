"""What the command line shows: tables, sentences, bars; what a command writes, and how it ends."""

import json
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from llc_lightning.report.cells import Table
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import StoreError
from llc_lightning.runtime.progress import Advance

if TYPE_CHECKING:
    import pandas as pd

WIDE = 150
"""Columns of text that goes to a file or a pipe."""


def rendered(sentences: Iterable[str], tables: Iterable[Table | None], *, width: int | None = None) -> str:
    """Returns sentences and tables as text for a terminal, with colours if standard output is one.

    Args:
        sentences: Shown first, one paragraph each.
        tables: Shown below; None is left out.
        width: Columns of the terminal; None asks it, and takes ``WIDE`` where the output goes elsewhere.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Grid
    from rich.text import Text

    console = Console(width=width or (None if sys.stdout.isatty() else WIDE))
    with console.capture() as text:
        for sentence in sentences:
            console.print(Text(f"• {sentence}"))
        for one in filter(None, tables):
            grid = Grid(title=escape(one.title), title_justify="left", title_style="bold", box=None, pad_edge=False)
            for column in one.columns:
                grid.add_column(escape(column), overflow="fold")
            for row in one.rows:
                grid.add_row(*(escape(cell) for cell in row))
            console.print()
            console.print(grid)
            if one.note:
                console.print(Text(one.note, style="dim"))
    return text.get()


class Bars:
    """Progress bars on standard error, for as long as their tasks last; none where that is no terminal."""

    @contextmanager
    def task(self, description: str, total: int) -> Generator[Advance]:
        """Opens a task with its own bar, which goes when the task ends."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), "{task.completed}/{task.total}", TimeElapsedColumn())
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as shown:
            line = shown.add_task(description, total=total)

            def advance(n: int = 1, note: str = "") -> None:
                shown.update(line, advance=n, description=f"{description} {note}" if note else description)

            yield advance


def make_folder(folder: Path, *, option: str = "--out") -> Path:
    """Makes a folder where there is none, and returns it.

    Args:
        folder: The folder.
        option: The option that chose it, for the message of an error.

    Raises:
        StoreError: If it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror}; choose another place with {option}.") from error
    if not os.access(folder, os.W_OK):
        raise StoreError(f"{folder} cannot be written; choose another place with {option}.")
    return folder


def write(path: Path, content: str | Callable[[Path], object]) -> Path:
    """Writes a file, and the folders that it needs, and returns its path.

    Args:
        path: The file.
        content: Its text, or what writes it to the path that it is given.

    Raises:
        StoreError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8") if isinstance(content, str) else content(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; choose another place with --out.") from error
    return path


def write_table(path: Path, frame: "pd.DataFrame") -> Path:
    """Writes a table as a .csv, .parquet or .json file, and returns its path.

    Raises:
        StoreError: If it cannot be written.
    """
    formats: dict[str, Callable[[Path], object]] = {
        ".csv": lambda path: frame.to_csv(path, index=False),
        ".parquet": lambda path: frame.to_parquet(path, index=False),
        ".json": lambda path: frame.to_json(path, orient="records", double_precision=15),
    }
    return write(path, formats[path.suffix])


_SHOWN = 3


def analyze(command: str, *words: Path | str) -> str:
    """Returns a call of the command that reads runs, as a shell reads it."""
    return call("analyze", command, *words)


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
