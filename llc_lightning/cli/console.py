"""What the command line shows: tables, sentences, bars."""

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from llc_lightning.report.cells import Table
from llc_lightning.runtime.progress import Advance

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
