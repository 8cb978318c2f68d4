"""What all LightningModules for sequences share: the loss, what they log, and the optimizer."""

from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import torch
from jaxtyping import Float, Int64
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.base import Inputs, Outputs, Sequences, SequenceTask
from llc_lightning.models.fourier import strongest_share
from llc_lightning.models.optimizer import OptimizerSettings, adamw, logs_now
from llc_lightning.models.position_losses import mean_loss, sequence_hits, sequence_losses
from llc_lightning.runtime.batches import chunks
from llc_lightning.runtime.errors import DataError

_BLOCK = 1024


class SequenceModel(L.LightningModule, ABC):
    """Trains a net to predict: tokens, by cross-entropy in nats, or numbers, by squared error.

    An example is a sequence, its loss the mean over the positions that have a target. The same value is trained on,
    sampled and ablated.

    Args:
        settings: Of the optimizer.
    """

    cycle: int
    """How many tokens, from 0 on, are the numbers of a cycle; 0 for none, and before the data is known."""
    trivial_loss: float
    """The loss of the best answer that does not look at the input; there is none before the data is known."""
    task: SequenceTask | None
    """What knows the labels of its examples; None where nothing does, and before the data is known."""

    def __init__(self, settings: OptimizerSettings) -> None:
        super().__init__()
        self.optimizer_settings = settings
        self.cycle = 0
        self.task = None

    @abstractmethod
    def forward(self, inputs: Inputs) -> Outputs:
        """Returns the logits, or the predicted numbers, at every position."""

    @property
    @abstractmethod
    def embedding(self) -> Float[Tensor, "token d_model"]:
        """What stands for each token."""

    @property
    @abstractmethod
    def limits(self) -> tuple[int, int, int | None]:
        """The tokens and positions that the net has, and the width of the vectors that it reads instead of tokens."""

    @property
    def loss_unit(self) -> str:
        """What the loss is counted in: the mean over targets of a negative log-likelihood, or of a squared error."""
        return "nats per token" if self.limits[2] is None else "error^2"

    def per_example_loss(self, batch: Sequences) -> Float[Tensor, "example"]:
        """Returns the loss of every sequence, the mean over its targets."""
        inputs, targets = batch
        return sequence_losses(self(inputs), targets)

    def logits(self, batch: Sequences) -> Outputs:
        """Returns the outputs of a batch, for the metrics that compare them."""
        return self(batch[0])

    def labels(self, batch: Sequences) -> dict[str, Int64[Tensor, "example"]]:
        """Returns what ablations can be conditioned on, as in ``resample(label=period)``: what its task knows.

        That is nothing before the data is known, and of text and of regression, whose examples have no label.
        """
        return {} if self.task is None else self.task.labels(batch)

    def task_quantities(self, batch: Sequences) -> list[TaskQuantity]:
        """Returns the accuracy over the targets, none where these are numbers.

        Where the tokens are the numbers of a cycle, as in modular addition, the share of the embedding's strongest
        frequencies follows.
        """
        inputs, targets = batch
        if targets.is_floating_point():
            return []
        with torch.no_grad():
            blocks = chunks(len(inputs), _BLOCK)
            hits = torch.cat([sequence_hits(self(inputs[rows]), targets[rows]) for rows in blocks])
        n = len(hits)
        found = [TaskQuantity("accuracy", float(hits.mean()), float(hits.std()) / n**0.5 if n > 1 else 0.0, n)]
        return [*found, TaskQuantity("fourier_share", self._fourier_share(), 0.0, n)] if self.cycle else found

    def training_loss(self, outputs: Outputs, batch: Sequences) -> Tensor:
        """Returns what is minimised: the mean loss of a batch."""
        return mean_loss(outputs, batch[1])

    def training_step(self, batch: Sequences, batch_idx: int) -> Tensor:
        """Returns what is minimised, and logs loss and accuracy every ``log_every_n_steps`` steps."""
        inputs, targets = batch
        outputs = self(inputs)
        if logs_now(self):
            self.log("train/loss", mean_loss(outputs.detach(), targets), prog_bar=True)
            if not targets.is_floating_point():
                self.log("train/accuracy", sequence_hits(outputs.detach(), targets).mean())
        return self.training_loss(outputs, batch)

    def validation_step(self, batch: Sequences, batch_idx: int) -> None:
        """Logs the loss, the accuracy and the task's own metrics over the validation examples."""
        inputs, targets = batch
        outputs = self(inputs)
        named = {"val/loss": sequence_losses(outputs, targets)}
        if not targets.is_floating_point():
            named["val/accuracy"] = sequence_hits(outputs, targets)
        data = self._data()
        if data is not None:
            named |= {f"val/{name}": values for name, values in data.task.metrics(outputs, batch).items()}
        for name, values in named.items():
            self.log(name, values.mean(), prog_bar=name == "val/loss", sync_dist=True, batch_size=len(inputs))

    def on_validation_epoch_end(self) -> None:
        """Logs the losses of the data's simple predictors beside the net's."""
        data = self._data()
        if data is not None:
            for name, value in data.baselines().items():
                self.log(f"baseline/{name}", value, rank_zero_only=True)
        if self.cycle:
            self.log("val/fourier_share", self._fourier_share(), rank_zero_only=True)

    def setup(self, stage: str) -> None:
        """Checks that the net can read the data.

        Raises:
            DataError: If it has too few tokens or positions, or reads vectors of another width.
        """
        data = self._data()
        if data is not None:
            self.fit_to(data)

    def fit_to(self, data: L.LightningDataModule) -> None:
        """Notes what the data's tokens and trivial loss are, and checks that the net can read them.

        Raises:
            DataError: If it has too few tokens or positions, or reads vectors of another width.
        """
        if not isinstance(data, SequenceData):
            return
        task, (d_vocab, n_ctx, d_input) = data.task, self.limits
        if task.width != d_input:
            raise DataError(
                f"the data are {_described(task.width)}, but the model reads {_described(d_input)}; set d_input to "
                f"{'null' if task.width is None else task.width}."
            )
        for name, needed, there in (("d_vocab", task.vocabulary, d_vocab), ("n_ctx", task.length, n_ctx)):
            if needed > there:
                raise DataError(f"the data need {name} to be at least {needed}, but the model has {there}; raise it.")
        # Every copy of the net has its attributes, and a text is large.
        self.task = None if type(task).labels is SequenceTask.labels else task
        self.cycle = task.cycle
        self.trivial_loss = data.baselines()[task.trivial]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns AdamW with its schedule.

        Raises:
            SettingError: If neither ``total_steps`` nor the trainer's ``max_steps`` says how long the cosine is.
        """
        return adamw(self.parameters(), self.optimizer_settings, steps=self.trainer.max_steps)

    def _fourier_share(self) -> float:
        return strongest_share(self.embedding.detach()[: self.cycle])

    def _data(self) -> SequenceData | None:
        trainer: Any = self.trainer
        return trainer.datamodule if isinstance(trainer.datamodule, SequenceData) else None


def _described(width: int | None) -> str:
    return "tokens" if width is None else f"vectors of {width} numbers"
