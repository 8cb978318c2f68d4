"""The LightningModule of a planted direction: a net of few neurons, hidden, whose whole answer is the label."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from llc_lightning.data.directions import DIRECTIONS, Inputs, Labels, Unit, weights_of
from llc_lightning.models.cis_net import error_unit
from llc_lightning.models.planted import orthogonal
from llc_lightning.models.stream_net import StreamNet
from llc_lightning.runtime.errors import DataError, SettingError, unknown
from llc_lightning.runtime.seeding import generator


class DirectionModel(L.LightningModule):
    """A net in which it is known what each neuron does and what each score must say of it; it is at its minimum.

    The neurons are those of ``DIRECTIONS[direction]``. Each is scaled, its layer permuted and the stream rotated, none
    of which changes an answer; a label is what the whole net answers.

    Args:
        direction: The name of the direction.
        seed: Of scales, permutations and the rotation.

    Raises:
        SettingError: If the direction is unknown.

    Example:
        >>> DirectionModel("backup").ground_truth()
        {'net.hook_hidden.0[0]': 'primary', 'net.hook_hidden.1[0]': 'backup'}
    """

    def __init__(self, direction: str = "backup", *, seed: int = 0) -> None:
        super().__init__()
        if direction not in DIRECTIONS:
            raise SettingError(unknown("direction", direction, DIRECTIONS))
        self.save_hyperparameters()
        self.direction = DIRECTIONS[direction]
        draws = generator(seed, "neurons")
        self.layers = [_hidden(layer, draws) for layer in self.direction.layers]
        places, inputs, outputs = self.direction.places, self.direction.inputs, self.direction.answers
        self.net = StreamNet(len(inputs), len(places), [len(layer) for layer in self.layers], len(outputs))
        turned = orthogonal(len(places), generator(seed, "stream")).double()
        with torch.no_grad():
            self.net.W_E.copy_(turned[:, [places.index(name) for name in inputs]])
            self.net.W_U.copy_(turned[:, [places.index(name) for name in outputs]])
            for layer, units in enumerate(self.layers):
                reads, bias, writes = weights_of(units, places)
                self.net.W_in[layer].copy_(reads @ turned.T)
                self.net.b_in[layer].copy_(bias)
                self.net.W_out[layer].copy_(turned @ writes.T)

    @property
    def trivial_loss(self) -> float:
        """The loss of always answering 0, exactly."""
        _, y = self.direction.examples()
        return float(self._losses(torch.zeros_like(y), y).mean())

    @property
    def loss_unit(self) -> str:
        """What the loss is counted in."""
        return error_unit(2.0) if self.direction.loss == "square" else "nats"

    def ground_truth(self) -> dict[str, str]:
        """Returns the role of every neuron by address."""
        return {address: unit.role for address, unit in self._units().items()}

    def matters(self) -> dict[str, bool]:
        """Returns by address whether the answer hears of the input through a neuron."""
        return {address: unit.matters for address, unit in self._units().items()}

    def _units(self) -> dict[str, Unit]:
        return {
            f"net.hook_hidden.{layer}[{number}]": unit
            for layer, units in enumerate(self.layers)
            for number, unit in enumerate(units)
        }

    def at(self, *roles: str) -> str:
        """Returns the address of the neurons with some roles, together.

        Raises:
            SettingError: If there is no such role.

        Example:
            >>> DirectionModel("backup").at("primary", "backup")
            'net.hook_hidden.0[0]+net.hook_hidden.1[0]'
        """
        truth = self.ground_truth()
        for role in roles:
            if role not in truth.values():
                raise SettingError(unknown("role", role, set(truth.values())))
        return "+".join(address for role in roles for address, own in truth.items() if own == role)

    def forward(self, x: Inputs) -> Labels:
        """Returns the answers; where the loss is logistic, the log-odds of a yes."""
        return self.net(x)

    def per_example_loss(self, batch: tuple[Inputs, Labels]) -> Float[Tensor, "example"]:
        """Returns the loss of every example, the mean over answers."""
        x, y = batch
        return self._losses(self(x), y).mean(dim=-1)

    def _losses(self, answers: Labels, y: Labels) -> Labels:
        if self.direction.loss == "square":
            return (answers - y).square()
        return binary_cross_entropy_with_logits(answers, y, reduction="none")

    def training_step(self, batch: tuple[Inputs, Labels], batch_idx: int) -> Tensor:
        """Returns the mean loss of a batch."""
        return self.per_example_loss(batch).mean()

    def setup(self, stage: str) -> None:
        """Checks that the data are of the model's direction.

        Raises:
            DataError: If they are of another.
        """
        trainer: Any = self.trainer
        given = getattr(trainer.datamodule, "direction", self.direction)
        if given != self.direction:
            raise DataError("model and data are of two directions; give both the same direction.")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns an optimizer that leaves the net as it is: it is at its minimum."""
        return torch.optim.SGD(self.parameters(), lr=0.0)


def _hidden(units: Sequence[Unit], draws: torch.Generator) -> list[Unit]:
    """Returns the neurons of a layer in another order, each on a scale of its own, which changes no answer."""
    scales = [0.5 + float(torch.rand((), generator=draws)) for _ in units]
    scaled = [
        replace(
            unit,
            reads={name: scale * weight for name, weight in unit.reads.items()},
            bias=scale * unit.bias,
            writes={name: weight / scale for name, weight in unit.writes.items()},
        )
        for unit, scale in zip(units, scales, strict=True)
    ]
    return [scaled[i] for i in torch.randperm(len(units), generator=draws)]
