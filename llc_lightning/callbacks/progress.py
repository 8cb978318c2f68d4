"""A bar for measurements beside the progress bar of the training, whichever of Lightning's that is."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from llc_lightning.runtime.progress import Advance, NoProgress, Progress


def progress_of(trainer: L.Trainer) -> Progress:
    """Returns where measurements show how far they are: beside the trainer's own bar, or nowhere if it shows none."""
    bar = trainer.progress_bar_callback
    if not trainer.is_global_zero:
        return NoProgress()
    if isinstance(bar, RichProgressBar) and bar.is_enabled:
        return RichTasks(bar)
    return TQDMTasks(bar) if isinstance(bar, TQDMProgressBar) and bar.is_enabled else NoProgress()


def mend_epochs(trainer: L.Trainer) -> None:
    """Has Lightning's ``RichProgressBar`` say the step of a training that has no last epoch, not "Epoch 0/-2"."""
    bar = trainer.progress_bar_callback
    if trainer.max_epochs != -1 or not isinstance(bar, RichProgressBar):
        return

    def described(current_epoch: int) -> str:
        last = f" of {trainer.max_steps}" if trainer.max_steps > 0 else ""
        return f"Epoch {current_epoch}, from step {trainer.global_step}{last}"

    untyped: Any = bar  # a method of its own that Lightning lets nobody else give
    untyped._get_train_description = described


class RichTasks:
    """Tasks among those of Lightning's ``RichProgressBar``."""

    def __init__(self, bar: RichProgressBar) -> None:
        self.bar = bar

    @contextmanager
    def task(self, description: str, total: int) -> Generator[Advance]:
        """Opens a task with its own line, which goes when the task ends."""
        from rich.progress import BarColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

        shown = self.bar.progress
        # Before the first epoch Lightning shows no bar yet.
        alone = shown is None or not shown.live.is_started
        if shown is None or alone:
            columns = ("{task.description}", BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            shown = Progress(*columns, transient=True)
            shown.start()
        line = shown.add_task(description, total=total)

        def advance(n: int = 1, note: str = "") -> None:
            shown.update(line, advance=n, description=f"{description} {note}" if note else description)
            self.bar.refresh()

        try:
            yield advance
        finally:
            shown.remove_task(line)
            if alone:
                shown.stop()


class TQDMTasks:
    """Bars below those of Lightning's ``TQDMProgressBar``."""

    def __init__(self, bar: TQDMProgressBar) -> None:
        self.bar = bar

    @contextmanager
    def task(self, description: str, total: int) -> Generator[Advance]:
        """Opens a task with its own line, which goes when the task ends."""
        import sys

        from tqdm.auto import tqdm

        position = 2 * self.bar.process_position + 1
        with tqdm(
            total=total, desc=description, position=position, leave=False, dynamic_ncols=True, file=sys.stdout
        ) as line:

            def advance(n: int = 1, note: str = "") -> None:
                line.set_postfix_str(note, refresh=False)
                line.update(n)

            yield advance
