"""Shows what is measured in TensorBoard, and hands it to every other logger of the trainer."""

from collections.abc import Iterable, Sequence
from typing import Any

import lightning as L

from llc_lightning.report.charts import Charts, layout
from llc_lightning.results.schema import Row


def prepare_dashboard(trainer: L.Trainer, charts: Sequence[Charts]) -> None:
    """Writes the layout of the custom scalars for all that will be measured; on rank 0 alone, once."""
    from lightning.pytorch.loggers import TensorBoardLogger

    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            writer: Any = getattr(logger, "experiment")  # noqa: B009 - it has no type
            writer.add_custom_scalars(layout(charts))


def log_rows(trainer: L.Trainer, rows: Iterable[Row], *, step: int) -> None:
    """Logs the rows of one step at exactly that step; on rank 0 alone.

    ``self.log`` would record them at the next multiple of ``log_every_n_steps``, or never.
    """
    from llc_lightning.report.tensorboard import scalars

    values = scalars(rows) if trainer.loggers else {}
    for logger in trainer.loggers:
        logger.log_metrics(values, step=step)
