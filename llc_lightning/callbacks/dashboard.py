"""Shows what is measured in TensorBoard, and hands it to every other logger of the trainer."""

from collections.abc import Iterable, Sequence
from typing import Any

import lightning as L

from llc_lightning.measure.plans import LLCPlan, Plan
from llc_lightning.results.schema import Row


def prepare_dashboard(trainer: L.Trainer, plans: Sequence[Plan]) -> None:
    """Writes the layout of the custom scalars for all that will be measured; on rank 0 alone, once."""
    from lightning.pytorch.loggers import TensorBoardLogger

    from llc_lightning.report.tensorboard import layout

    ladders = [plan for plan in plans if isinstance(plan, LLCPlan) and set(plan.components) - {"all", "layers"}]
    rungs = sorted({rung for plan in ladders for rung in plan.n_beta})
    methods = [method for plan in plans if not isinstance(plan, LLCPlan) for method in plan.methods]
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            writer: Any = getattr(logger, "experiment")  # noqa: B009 - it has no type
            writer.add_custom_scalars(layout(n_beta=rungs, methods=list(dict.fromkeys(methods))))


def log_rows(trainer: L.Trainer, rows: Iterable[Row], *, step: int) -> None:
    """Logs the rows of one step at exactly that step; on rank 0 alone.

    ``self.log`` would record them at the next multiple of ``log_every_n_steps``, or never.
    """
    from llc_lightning.report.tensorboard import scalars

    values = scalars(rows) if trainer.loggers else {}
    for logger in trainer.loggers:
        logger.log_metrics(values, step=step)
