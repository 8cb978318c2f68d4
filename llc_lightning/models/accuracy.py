"""How many circuits a net solves, whatever its loss: a training metric, and quantities with standard errors."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.data.tasks.base import CISTask, Inputs, Outputs, Targets

SOLVED = 0.95
"""A circuit is solved when it is correct on more than this share of its active examples."""


class TaskAccuracy(Metric):
    """The share of correct answers among the active ones, averaged over the circuits that were active at all."""

    full_state_update = False
    higher_is_better = True
    hits: Tensor
    counted: Tensor

    def __init__(self, task: CISTask, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        for state in ("hits", "counted"):
            self.add_state(state, torch.zeros(task.n_circuits), dist_reduce_fx="sum")  # pyright: ignore[reportUnknownMemberType]

    def update(self, outputs: Outputs, x: Inputs, y: Targets) -> None:
        """Adds examples."""
        active = self.task.is_active(x, y)
        self.hits += (self.task.is_correct(outputs, y) & active).sum(dim=0)
        self.counted += active.sum(dim=0)

    def compute(self) -> Float[Tensor, ""]:
        """Returns the mean accuracy; NaN where no circuit was active."""
        return (self.hits / self.counted).nanmean()


def accuracy_quantities(
    task: CISTask, correct: Bool[Tensor, "example circuit"], active: Bool[Tensor, "example circuit"]
) -> list[TaskQuantity]:
    """Returns each circuit's accuracy on its active examples, the mean of these, and how many circuits are solved.

    The variance of a share p of n examples is ``p (1 - p) / n`` with two successes and two failures added, so that it
    is not 0 at p = 1 (Agresti and Coull 1998). The standard error of the number solved takes each circuit to be solved
    with the probability that a normal variable with its accuracy and error is above the threshold. Circuits that are
    never active have no accuracy.

    Args:
        task: The task.
        correct: Where a circuit is correct.
        active: Where it counts.
    """
    counts = active.sum(dim=0).double()
    names = [name for name, count in zip(task.names, counts, strict=True) if count > 0]
    counts, hits = counts[counts > 0], (correct & active).sum(dim=0).double()[counts > 0]
    if not names:
        return []
    accuracy, n = hits / counts, len(active)
    smoothed = (hits + 2) / (counts + 4)
    errors = (smoothed * (1 - smoothed) / (counts + 4)).sqrt()
    above = (1 + torch.erf((accuracy - SOLVED) / errors / 2**0.5)) / 2
    solved, solved_error = (accuracy > SOLVED).sum(), (above * (1 - above)).sum().sqrt()
    mean_error = errors.square().sum().sqrt() / len(names)
    return [
        *(
            TaskQuantity(task.accuracy, float(accuracy[i]), float(errors[i]), int(counts[i]), loss=name)
            for i, name in enumerate(names)
        ),
        TaskQuantity(task.accuracy, float(accuracy.mean()), float(mean_error), n),
        TaskQuantity("circuits_solved", float(solved), float(solved_error), n),
    ]
