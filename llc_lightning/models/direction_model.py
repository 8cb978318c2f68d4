"""The LightningModule of a planted direction: a net of few neurons, hidden, whose whole answer is the label."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from llc_lightning.models.cis_net import error_unit
from llc_lightning.models.directions import DIRECTIONS, Direction, Draw, Unit
from llc_lightning.models.planted import Answers, Bits, orthogonal
from llc_lightning.models.stream_net import StreamNet
from llc_lightning.runtime.errors import SettingError, unknown
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
        self.layers = [_hidden(layer, draws) for layer in _layers(self.direction)]
        places, inputs, outputs = self.direction.places, self.direction.inputs, self.direction.answers
        self.net = StreamNet(len(inputs), len(places), [len(layer) for layer in self.layers], len(outputs))
        turned = orthogonal(len(places), generator(seed, "stream"))
        with torch.no_grad():
            self.net.W_E.copy_(turned[:, [places.index(name) for name in inputs]])
            self.net.W_U.copy_(turned[:, [places.index(name) for name in outputs]])
            for layer, units in enumerate(self.layers):
                reads, bias, writes = _weights(units, places)
                self.net.W_in[layer].copy_(reads @ turned.T)
                self.net.b_in[layer].copy_(bias)
                self.net.W_out[layer].copy_(turned @ writes.T)

    @property
    def trivial_loss(self) -> float:
        """The loss of always answering 0, exactly."""
        _, y = self.examples()
        return float(self._losses(torch.zeros_like(y), y).mean())

    @property
    def loss_unit(self) -> str:
        """What the loss is counted in."""
        return error_unit(2.0) if self.direction.loss == "square" else "nats"

    def ground_truth(self) -> dict[str, str]:
        """Returns the role of every neuron by address."""
        return {
            f"net.hook_hidden.{layer}[{number}]": unit.role
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

    def sample(self, n: int, generator: torch.Generator) -> tuple[Bits, Answers]:
        """Draws ``n`` examples: inputs, and the labels that the whole net gives them."""
        x, y = self.examples()
        rows = torch.randint(len(x), (n,), generator=generator)
        return x[rows], y[rows]

    def examples(self) -> tuple[Bits, Answers]:
        """Returns all examples that there are, each as often as it comes, so that a mean over them is exact.

        Example:
            >>> len(DirectionModel("backup").examples()[0])
            16
        """
        patterns = [_patterns(draw) for draw in self.direction.draws]
        x = torch.stack([torch.cat(rows) for rows in product(*patterns)])
        return x, self.labels(x)

    def labels(self, x: Bits) -> Answers:
        """Returns what the whole net answers: numbers, or the probability of a yes where the loss is logistic."""
        places = self.direction.places
        stream = torch.zeros(len(x), len(places), dtype=x.dtype)
        stream[:, [places.index(name) for name in self.direction.inputs]] = x
        for units in _layers(self.direction):
            reads, bias, writes = (weights.to(x.dtype) for weights in _weights(units, places))
            stream = stream + (stream @ reads.T + bias).relu() @ writes
        answers = stream[:, [places.index(name) for name in self.direction.answers]]
        return answers if self.direction.loss == "square" else answers.sigmoid()

    def forward(self, x: Bits) -> Answers:
        """Returns the answers; where the loss is logistic, the log-odds of a yes."""
        return self.net(x)

    def per_example_loss(self, batch: tuple[Bits, Answers]) -> Float[Tensor, "example"]:
        """Returns the loss of every example, the mean over answers."""
        x, y = batch
        return self._losses(self(x), y).mean(dim=-1)

    def _losses(self, answers: Answers, y: Answers) -> Answers:
        if self.direction.loss == "square":
            return (answers - y).square()
        return binary_cross_entropy_with_logits(answers, y, reduction="none")

    def training_step(self, batch: tuple[Bits, Answers], batch_idx: int) -> Tensor:
        """Returns the mean loss of a batch."""
        return self.per_example_loss(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns an optimizer that leaves the net as it is: it is at its minimum."""
        return torch.optim.SGD(self.parameters(), lr=0.0)


def _layers(direction: Direction) -> list[list[Unit]]:
    """Returns the neurons of each layer."""
    return [
        [unit for unit in direction.units if unit.layer == layer]
        for layer in range(1 + max(unit.layer for unit in direction.units))
    ]


def _hidden(units: list[Unit], draws: torch.Generator) -> list[Unit]:
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


def _weights(
    units: Sequence[Unit], places: Sequence[str]
) -> tuple[Float[Tensor, "unit place"], Float[Tensor, "unit"], Float[Tensor, "unit place"]]:
    """Returns what neurons read, their biases, and what they write."""
    reads, writes = (
        torch.tensor([[side.get(name, 0.0) for name in places] for side in sides])
        for sides in ([unit.reads for unit in units], [unit.writes for unit in units])
    )
    return reads, torch.tensor([unit.bias for unit in units]), writes


def _patterns(draw: Draw) -> Float[Tensor, "example input"]:
    """Returns the inputs of one draw, those that are 1 and those that are 0, each as often as it comes."""
    names = dict.fromkeys(name for on in draw for name in on)
    return torch.tensor([[float(name in on) for name in names] for on, times in draw.items() for _ in range(times)])
