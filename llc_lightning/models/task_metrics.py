"""Accuracy and loss of every task, over batches and ranks."""

from collections.abc import Iterator, Sequence

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

_NO_LABEL = -1


class TaskMetrics(nn.Module):
    """An accuracy and a mean loss for each of several tasks.

    Args:
        n_tasks: The number of tasks.
        classes: Classes that an output can have.
    """

    def __init__(self, n_tasks: int, classes: int) -> None:
        super().__init__()
        self.accuracy = nn.ModuleList(
            MulticlassAccuracy(classes, average="micro", ignore_index=_NO_LABEL, validate_args=False)
            for _ in range(n_tasks)
        )
        self.loss = nn.ModuleList(MeanMetric() for _ in range(n_tasks))

    def forward(
        self,
        outputs: Float[Tensor, "example task class"],
        losses: Float[Tensor, "example task"],
        labels: Int64[Tensor, "example task"],
    ) -> None:
        """Adds examples; -1 stands where an example has no label of a task.

        Args:
            outputs: Of every class.
            losses: The cross-entropies.
            labels: The classes.
        """
        counted: Bool[Tensor, "example task"] = labels >= 0
        for task, (accuracy, loss) in enumerate(zip(self.accuracy, self.loss, strict=True)):
            if counted[:, task].any():
                accuracy(outputs[:, task], labels[:, task])
                loss(losses[counted[:, task], task])

    def named(self, tasks: Sequence[str]) -> Iterator[tuple[str, Metric]]:
        """Yields each metric with its name: ``accuracy_mnist``, ``loss_mnist``, ..."""
        for task, accuracy, loss in zip(tasks, self.accuracy, self.loss, strict=True):
            for name, metric in (("accuracy", accuracy), ("loss", loss)):
                if isinstance(metric, Metric):
                    yield f"{name}_{task}", metric
