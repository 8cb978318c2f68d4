"""A run's settings beside what it reached, for TensorBoard's table of hyperparameters."""

from llc_lightning.analysis import table
from llc_lightning.report.cells import flat_table
from llc_lightning.report.tensorboard import scalars_of
from llc_lightning.results.run import Run

REACHED = ("analysis/loss_on_", "llc/full", "cis/circuits_solved", "cis/accuracy")
"""How tags begin whose last values are told beside the settings, as ``hparam/...``."""


def settings_and_ends(run: Run) -> tuple[dict[str, str], dict[str, float]]:
    """Returns the flat configuration of a run, and what it reached at its last measured step; empty without rows."""
    flat = flat_table("settings", "", run.config)
    rows = run.measurements()
    if flat is None or not len(rows):
        return {}, {}
    ends = scalars_of(table.select(rows, step=table.steps(rows)[-1]))
    return {key: value for key, value in flat.rows}, {
        f"hparam/{tag}": value for tag, value in ends.items() if tag.startswith(REACHED)
    }
