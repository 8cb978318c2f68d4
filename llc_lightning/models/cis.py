"""The LightningModule that trains nets to compute in superposition."""

import copy
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from jaxtyping import Bool, Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.data.tasks import make_task
from llc_lightning.data.tasks.base import Examples, Inputs, Outputs
from llc_lightning.models.accuracy import TaskAccuracy, accuracy_quantities
from llc_lightning.models.baselines import baseline_quantities, dedicated_net, loss_quantity, loss_unit
from llc_lightning.models.cis_net import CISNet, error_unit, power_of
from llc_lightning.models.cis_truth import neuron_roles
from llc_lightning.models.optimizer import OptimizerSettings, adamw, logs_now
from llc_lightning.runtime.errors import DataError, SettingError, at_least, unless_none

MEASURES = (2.0, 4.0)
"""Exponents of the error in which every net is told, whatever it was trained on."""


class CISModel(L.LightningModule):
    """Trains a :class:`CISNet` on a task, by the mean over outputs of ``|output - y|^loss_power``, divided by ``q``.

    The same value is trained on, sampled and ablated. Always answering 0 has the loss ``trivial_loss`` (xor: 1). With a
    ``loss_power`` of 4 the xor net computes in superposition, with 2 it largely does not, everything else being equal.

    Args:
        task: The task's name, the same as in the data, such as ``xor``.
        size: The task's number of circuits (uprod: of inputs), the same as in the data.
        active: How many circuits are active in an example on average, the same as in the data.
        width: The number of hidden neurons.
        embedding: Into how many dimensions a fixed random map embeds the inputs, which are then in superposition
            themselves; None gives the net the inputs as they are. The baselines are granted these in either case.
        loss_power: The exponent of the loss; with 4 the xor net computes in superposition, with 2 it largely does not.
        learning_rate: Of AdamW at the start; it falls to 0 along a half cosine.
        weight_decay: Of AdamW.
        total_steps: The length of the cosine in optimizer steps; by default the trainer's ``max_steps``.
        seed: Of the initial weights.

    Raises:
        SettingError: If the task is unknown or a number is out of range.
    """

    def __init__(
        self,
        task: str = "xor",
        size: int = 32,
        active: float = 1.0,
        *,
        width: int = 32,
        embedding: int | None = None,
        loss_power: float = 4.0,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        total_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        at_least(1, width=width, **unless_none(embedding=embedding))
        if not 1 <= loss_power < float("inf"):
            raise SettingError(f"loss_power is {loss_power}; give a number from 1 up, such as 2 or 4.")
        self.save_hyperparameters()
        self.task = make_task(task, size=size, active=active)
        self.loss_power = loss_power
        self.optimizer_settings = OptimizerSettings(learning_rate, weight_decay, total_steps=total_steps)
        self.net = CISNet(self.task.n_inputs, width, self.task.n_outputs, seed=seed, embedding=embedding)
        self.train_accuracy = TaskAccuracy(self.task)
        self.val_accuracy = TaskAccuracy(self.task)

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of the circuits."""
        return self.task.names

    @property
    def trivial_loss(self) -> float:
        """The expected loss of always answering 0."""
        return self.task.trivial_loss(self.loss_power)

    @property
    def loss_unit(self) -> str:
        """What the loss is counted in: a power of the error, per active circuit."""
        return loss_unit(self.loss_power)

    @property
    def task_loss_unit(self) -> str:
        """What the loss of a circuit is counted in, which is not divided by ``q``."""
        return error_unit(self.loss_power)

    def forward(self, x: Inputs) -> Outputs:
        """Returns the outputs."""
        return self.net(x)

    def per_example_loss(self, batch: Examples) -> Float[Tensor, "example"]:
        """Returns the loss of every example."""
        x, y = batch
        return power_of(self.net(x) - y, self.loss_power).mean(dim=-1) / self.task.q

    def per_task_loss(
        self, batch: Examples
    ) -> tuple[Float[Tensor, "example circuit"], Bool[Tensor, "example circuit"]]:
        """Returns ``|output - y|^loss_power`` of every example and circuit, and where the circuit is active.

        It is the mean over the circuit's outputs, and not divided by ``q``, so that each circuit has the scale of
        ``trivial_loss`` on its active examples.
        Their mean over circuits, divided by ``q``, is ``per_example_loss``, which also holds the noise of the others.
        """
        x, y = batch
        losses = self.task.per_circuit(power_of(self.net(x) - y, self.loss_power))
        return losses, self.task.is_active(x, y)

    def task_quantities(self, batch: Examples) -> list[TaskQuantity]:
        """Returns accuracies, circuits solved, and the baselines' losses, on the same examples.

        The squared error and its square are told as well where they are not the loss, with the baselines' in them: as
        the losses ``power:2`` and ``power:4``.
        """
        x, y = batch
        with torch.no_grad():
            outputs = self.net(x)
            correct, active = self.task.is_correct(outputs, y), self.task.is_active(x, y)
        powers = {power: f"power:{power:g}" for power in MEASURES if power != self.loss_power}
        return [
            *accuracy_quantities(self.task, correct, active),
            *baseline_quantities(self.task, batch, width=self.net.width, power=self.loss_power),
            *(loss_quantity(self.task, outputs, y, power=power, name=name) for power, name in powers.items()),
            *(
                replace(one, loss=name, unit=loss_unit(power))
                for power, name in powers.items()
                for one in baseline_quantities(self.task, batch, width=self.net.width, power=power)
                if one.quantity == "baseline_loss"
            ),
        ]

    def ground_truth(self) -> dict[str, str]:
        """Returns what is known of the net's components: address -> name of the circuit, or ``dead``.

        Known are the outputs, which belong to the circuits one by one, and those neurons whose weights leave no doubt
        (see :func:`neuron_roles`): all of a net that is wired by hand, hardly any of a trained one.
        """
        outputs = range(self.task.n_outputs)
        neurons = neuron_roles(self.net, self.task)
        return {
            **{f"net.hook_hidden[{neuron}]": role for neuron, role in neurons.items()},
            **{f"net.hook_out[{i}]": self.task.names[i // self.task.outputs_per_circuit] for i in outputs},
        }

    def dedicated(self) -> "CISModel":
        """Returns a copy whose net is wired by hand, each neuron serving one circuit alone, for comparison.

        It reads the inputs as they are, also where this net has them embedded.
        """
        other = copy.deepcopy(self)
        other.net = dedicated_net(self.task, self.net.width)
        return other

    def training_step(self, batch: Examples, batch_idx: int) -> Tensor:
        """Returns the mean loss of a batch, and logs it with the accuracy every ``log_every_n_steps`` steps."""
        x, y = batch
        outputs = self.net(x)
        loss = power_of(outputs - y, self.loss_power).mean() / self.task.q
        if logs_now(self):
            self.train_accuracy(outputs.detach(), x, y)
            self.log("train/loss", loss, prog_bar=True)
            self.log(f"train/{self.task.accuracy}", self.train_accuracy)
        return loss

    def validation_step(self, batch: Examples, batch_idx: int) -> None:
        """Logs loss and accuracy over the validation examples."""
        x, y = batch
        outputs = self.net(x)
        loss = power_of(outputs - y, self.loss_power).mean() / self.task.q
        self.val_accuracy.update(outputs, x, y)
        self.log("val/loss", loss, prog_bar=True, sync_dist=True, batch_size=len(x))
        self.log(f"val/{self.task.accuracy}", self.val_accuracy, batch_size=len(x))

    def setup(self, stage: str) -> None:
        """Checks that the data are of the model's task.

        Raises:
            DataError: If they are of another.
        """
        trainer: Any = self.trainer
        given = getattr(trainer.datamodule, "task", self.task)
        if given != self.task:
            raise DataError(f"the model is made for {self.task}, but the data are of {given}; give both the same task.")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns AdamW with a learning rate that falls to 0 along a half cosine.

        Raises:
            SettingError: If neither ``total_steps`` nor the trainer's ``max_steps`` says how long the cosine is.
        """
        return adamw(self.parameters(), self.optimizer_settings, steps=self.trainer.max_steps)
