"""Tasks for computation in superposition: one file and one class each, found by name."""

from llc_lightning.data.tasks.base import TASKS, CISTask, make_task

__all__ = ["TASKS", "CISTask", "make_task"]
