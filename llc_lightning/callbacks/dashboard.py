"""Shows what is measured in TensorBoard, and hands it to every other logger of the trainer."""

from collections.abc import Iterable, Sequence
from typing import Any

import lightning as L

from llc_lightning.measure.plans import LLCPlan, Plan
from llc_lightning.results.schema import Row
from llc_lightning.results.tags import Charts, method_tag, rung_tag


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
            writer.add_custom_scalars(layout(llc_charts(rungs), ablation_charts(methods)))


def llc_charts(n_beta: Sequence[float]) -> Charts:
    """Returns the charts of learning coefficients, one for each n_beta of the ladder of the units' wrLLC."""
    rungs = {f"wrLLC at n_beta {rung:g}": ["Multiline", [f"^llc_units/{rung_tag(rung)}/"]] for rung in n_beta}
    whole = {
        "full LLC with its interval": ["Margin", ["llc/full", "llc/full_lo", "llc/full_hi"]],
        "full LLC, raw and with Delta": ["Multiline", ["^llc/(n_beta_[^/]*/)?full(_plus_delta)?$"]],
    }
    return {
        "LLC against ablation": {**whole, **(rungs or {"wrLLC": ["Multiline", ["^llc_units/"]]})},
        "Layers": {"wrLLC of layers": ["Multiline", ["^llc_layers/"]]},
    }


def ablation_charts(methods: Sequence[str]) -> Charts:
    """Returns the charts of ablation effects, one for each method."""
    effects = {f"effect of {name} ablation": ["Multiline", [f"^ablation/{method_tag(name)}/"]] for name in methods}
    return {
        "LLC against ablation": effects or {"ablation effects": ["Multiline", ["^ablation/"]]},
        "Layers": {"ablation effects of layers": ["Multiline", ["^ablation_layers/"]]},
    }


def log_rows(trainer: L.Trainer, rows: Iterable[Row], *, step: int) -> None:
    """Logs the rows of one step at exactly that step; on rank 0 alone.

    ``self.log`` would record them at the next multiple of ``log_every_n_steps``, or never.
    """
    from llc_lightning.report.tensorboard import scalars

    values = scalars(rows) if trainer.loggers else {}
    for logger in trainer.loggers:
        logger.log_metrics(values, step=step)
