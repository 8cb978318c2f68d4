"""Tasks for computation in superposition: one file and one class each, found by name."""

from llc_lightning.data.tasks import abs, circ, relu, uprod, xor
from llc_lightning.data.tasks.base import TASKS, CISTask, make_task

__all__ = ["TASKS", "CISTask", "abs", "circ", "make_task", "relu", "uprod", "xor"]
