"""The LightningModule that trains one net on two image tasks."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from jaxtyping import Bool, Float, Int64
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.data.layouts import make_layout
from llc_lightning.models.image_nets import ImageCNN, ImageMLP
from llc_lightning.models.optimizer import OptimizerSettings, adamw, logs_now
from llc_lightning.models.task_metrics import TaskMetrics
from llc_lightning.runtime.errors import DataError, SettingError, at_least, unknown

Examples = tuple[Float[Tensor, "example row column"], Int64[Tensor, "example task"]]
"""A batch: images with brightness from 0 to 1, and the label of each task, -1 where an example has none."""

_ARCHITECTURES = ("mlp", "cnn")
_UNNAMED = ("first", "second")


class ImageModel(L.LightningModule):
    """Trains an :class:`ImageMLP` or :class:`ImageCNN` on two tasks, by the cross-entropy.

    The loss of an example is the mean over its tasks: it has one of them, or both. So the loss is the mean of the
    tasks' losses, weighted by how many examples each has, and so is the effect of any ablation.

    Args:
        layout: How the tasks share the net, the same as in the data: ``mix20``, ``super``, ``concat`` or ``share10``.
        mini: Whether images are 14 x 14 instead of 28 x 28, the same as in the data.
        architecture: ``mlp``, or ``cnn``.
        width: Neurons of each hidden layer of an ``mlp``.
        depth: Hidden layers of an ``mlp``.
        channels: Channels after each convolution of a ``cnn``.
        learning_rate: Of AdamW at the start; it falls to 0 along a half cosine.
        weight_decay: Of AdamW.
        total_steps: The length of the cosine in optimizer steps; by default that of the training.
        tasks: The names of the two tasks; by default those of the data that it is trained on.
        seed: Of the initial weights.

    Raises:
        SettingError: If a name is unknown or a number is out of range.
    """

    def __init__(
        self,
        layout: str = "mix20",
        *,
        mini: bool = False,
        architecture: str = "mlp",
        width: int = 64,
        depth: int = 2,
        channels: Sequence[int] = (8, 16),
        learning_rate: float = 4e-3,
        weight_decay: float = 0.0,
        total_steps: int | None = None,
        tasks: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if architecture not in _ARCHITECTURES:
            raise SettingError(unknown("architecture", architecture, _ARCHITECTURES))
        at_least(1, width=width, depth=depth, channels=min(channels, default=0))
        if tasks is not None and not len(tasks) == len(set(tasks)) == len(_UNNAMED):
            raise SettingError(f"tasks is {list(tasks)}; give two different names.")
        self.save_hyperparameters()
        self.layout = make_layout(layout)
        self.image_shape = self.layout.image_shape(mini=mini)
        self.optimizer_settings = OptimizerSettings(learning_rate, weight_decay, total_steps=total_steps)
        self.named_tasks = None if tasks is None else tuple(tasks)
        rows, columns = self.image_shape
        n_outputs = self.layout.heads * self.layout.classes
        self.net = (
            ImageMLP(rows * columns, width, depth, n_outputs, seed=seed)
            if architecture == "mlp"
            else ImageCNN(rows, columns, channels, n_outputs, seed=seed)
        )
        self.train_metrics = TaskMetrics(len(_UNNAMED), self.layout.classes)
        self.val_metrics = TaskMetrics(len(_UNNAMED), self.layout.classes)

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of the tasks as measurements call them: ``task:mnist``, ``task:fashion``."""
        return tuple(f"task:{name}" for name in self.named_tasks or _UNNAMED)

    @property
    def loss_unit(self) -> str:
        """What the loss is counted in: it is a negative log-likelihood."""
        return "nats per example"

    @property
    def trivial_loss(self) -> float:
        """The loss of giving all classes the same probability; classes are about equally frequent."""
        return float(torch.tensor(float(self.layout.classes)).log())

    def forward(self, images: Float[Tensor, "example row column"]) -> Float[Tensor, "example task class"]:
        """Returns the outputs for each task; they are the same for both where the tasks share a head."""
        return self._of_heads(images).expand(-1, len(_UNNAMED), -1)

    def logits(self, batch: Examples) -> Float[Tensor, "example head class"]:
        """Returns the outputs of a batch, for the metrics that compare them."""
        return self._of_heads(batch[0])

    def per_example_loss(self, batch: Examples) -> Float[Tensor, "example"]:
        """Returns the loss of every example in nats."""
        losses, counted = self.per_task_loss(batch)
        return (losses * counted).sum(dim=-1) / counted.sum(dim=-1)

    def per_task_loss(self, batch: Examples) -> tuple[Float[Tensor, "example task"], Bool[Tensor, "example task"]]:
        """Returns the cross-entropy of every example on every task in nats, and whether it has a label of the task."""
        images, labels = batch
        return self._losses(self(images), labels), labels >= 0

    def labels(self, batch: Examples) -> dict[str, Int64[Tensor, "example"]]:
        """Returns what ablations can be conditioned on, as in ``resample(label=class)``.

        That is the label of each task by its name, -1 where an example has none, and ``class``, the labels of both
        tasks in one.
        """
        labels = batch[1]
        by_task = dict(zip(self.named_tasks or _UNNAMED, labels.unbind(dim=1), strict=True))
        return by_task | {"class": (labels[:, 0] + 1) * (self.layout.classes + 1) + labels[:, 1] + 1}

    def task_quantities(self, batch: Examples) -> list[TaskQuantity]:
        """Returns the accuracy on each task and over all labels.

        The variance of a share p of n labels is ``p (1 - p) / n`` with two successes and two failures added, so that it
        is not 0 at p = 1 (Agresti and Coull 1998).
        """
        images, labels = batch
        with torch.no_grad():
            hits = self(images).argmax(dim=-1) == labels
        counted = labels >= 0
        parts = [(name, hits[:, i], counted[:, i]) for i, name in enumerate(self.task_names)]
        return [_accuracy(name, *part) for name, *part in [*parts, ("train", hits, counted)]]

    def training_step(self, batch: Examples, batch_idx: int) -> Tensor:
        """Returns the mean loss of a batch, and logs it with each task's every ``log_every_n_steps`` steps."""
        images, labels = batch
        outputs = self(images)
        losses = self._losses(outputs, labels)
        loss = _mean(losses, labels)
        if logs_now(self):
            self.train_metrics(outputs.detach(), losses.detach(), labels)
            self.log("train/loss", loss, prog_bar=True)
            self._log_metrics("train", self.train_metrics, len(images))
        return loss

    def validation_step(self, batch: Examples, batch_idx: int) -> None:
        """Logs losses and accuracies over the validation examples."""
        images, labels = batch
        outputs = self(images)
        losses = self._losses(outputs, labels)
        self.val_metrics(outputs, losses, labels)
        self.log("val/loss", _mean(losses, labels), prog_bar=True, sync_dist=True, batch_size=len(images))
        self._log_metrics("val", self.val_metrics, len(images))

    def setup(self, stage: str) -> None:
        """Takes the names of the tasks from the data, where there is a datamodule.

        Raises:
            DataError: If the data are of another layout or size, or of other tasks.
        """
        trainer: Any = self.trainer
        if trainer.datamodule is not None:
            self.fit_to(trainer.datamodule)

    def fit_to(self, data: L.LightningDataModule) -> None:
        """Takes the names of the tasks from a datamodule, and checks that its examples fit.

        Raises:
            DataError: If the data are of another layout or size, or of other tasks.
        """
        layout = getattr(data, "layout", self.layout)
        shape = layout.image_shape(mini=getattr(data, "mini", self.image_shape[0] == layout.image_shape(mini=True)[0]))
        if (layout, shape) != (self.layout, self.image_shape):
            raise DataError(
                f"the model is made for {self.layout.name} with images of {self.image_shape}, but the data are "
                f"{layout.name} with images of {shape}; give both the same layout and mini."
            )
        names = tuple(getattr(data, "task_names", self.named_tasks or _UNNAMED))
        if self.named_tasks is not None and names != self.named_tasks:
            raise DataError(
                f"the model's tasks are {' and '.join(self.named_tasks)}, but the data's are {' and '.join(names)}; "
                "take the same source of data, or leave tasks out."
            )
        self.named_tasks = names

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes the names of the tasks."""
        checkpoint["task_names"] = None if self.named_tasks is None else list(self.named_tasks)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the names of the tasks."""
        names: list[str] | None = checkpoint.get("task_names")
        self.named_tasks = None if names is None else tuple(names)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns AdamW with a learning rate that falls to 0 along a half cosine.

        Raises:
            SettingError: If neither ``total_steps`` nor the trainer says how long the cosine is.
        """
        told_by = "the trainer's max_steps or max_epochs"
        steps = self.trainer.estimated_stepping_batches
        return adamw(self.parameters(), self.optimizer_settings, steps=steps, told_by=told_by)

    def _of_heads(self, images: Float[Tensor, "example row column"]) -> Float[Tensor, "example head class"]:
        return self.net(images).unflatten(-1, (self.layout.heads, self.layout.classes))

    def _losses(
        self, outputs: Float[Tensor, "example task class"], labels: Int64[Tensor, "example task"]
    ) -> Float[Tensor, "example task"]:
        """Returns the cross-entropies; where an example has no label, that of class 0, which is not to count."""
        return -outputs.log_softmax(dim=-1).gather(-1, labels.clamp_min(0)[..., None])[..., 0]

    def _log_metrics(self, stage: str, metrics: TaskMetrics, n: int) -> None:
        for name, metric in metrics.named(self.named_tasks or _UNNAMED):
            self.log(f"{stage}/{name}", metric, batch_size=n)


def _mean(losses: Float[Tensor, "example task"], labels: Int64[Tensor, "example task"]) -> Float[Tensor, ""]:
    """Returns the mean over all labels, which is the mean of the examples' losses as all have equally many."""
    counted = labels >= 0
    return (losses * counted).sum() / counted.sum()


def _accuracy(name: str, hits: Bool[Tensor, "..."], counted: Bool[Tensor, "..."]) -> TaskQuantity:
    n = int(counted.sum())
    right = int((hits & counted).sum())
    smoothed = (right + 2) / (n + 4)
    return TaskQuantity(
        "accuracy", right / n if n else float("nan"), (smoothed * (1 - smoothed) / (n + 4)) ** 0.5, n, loss=name
    )
