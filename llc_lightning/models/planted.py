"""Nets built by construction, in which it is known exactly what each neuron does: the truth to score methods against.

Blocks of neurons compute Boolean functions of their own inputs in closed form. Around them stand neurons that single
ablations are fooled by, and everything can be hidden by a permutation of the neurons and by rotations of the input and
output spaces, which change no loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

import lightning as L
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.models.cis_net import CISNet, error_unit, power_of
from llc_lightning.models.cis_truth import DEAD
from llc_lightning.runtime.errors import SettingError, at_least, unknown
from llc_lightning.runtime.seeding import generator

UNRELATED = "unrelated"
"""The role of neurons whose output no loss counts."""

Bits: TypeAlias = Float[Tensor, "example input"]
Answers: TypeAlias = Float[Tensor, "example block"]


@dataclass(frozen=True)
class Block:
    """A Boolean function of ``n`` inputs as a sum over ReLUs: ``sum_j coefficients[j] relu(s - j)``, s their sum."""

    n: int
    coefficients: tuple[float, ...]

    def __call__(self, ones: Float[Tensor, "*example"]) -> Float[Tensor, "*example"]:
        """Returns the function's value for how many inputs are 1.

        Example:
            >>> [BLOCKS["parity"](torch.tensor(float(ones))).item() for ones in range(4)]
            [0.0, 1.0, 0.0, 1.0]
        """
        terms = [coefficient * (ones - offset).relu() for offset, coefficient in enumerate(self.coefficients)]
        return torch.stack(terms).sum(dim=0)


BLOCKS = {"xor": Block(2, (1.0, -2.0)), "and": Block(2, (0.0, 1.0)), "parity": Block(3, (1.0, -2.0, 2.0))}
"""The blocks by name: of 2, 2 and 3 inputs."""


class _Neuron(NamedTuple):
    """One hidden neuron ``outgoing relu(incoming x + bias)``."""

    role: str
    incoming: Float[Tensor, "input"]
    bias: float
    outgoing: Float[Tensor, "output"]


class PlantedModel(L.LightningModule):
    """Blocks of neurons in one hidden layer with exact labels; its loss is 0, and it is not meant to be trained.

    Every ReLU of a block is split into ``copies`` neurons of positive scales whose read-outs add up. The neurons beside
    the blocks are the known traps of ablation:

    - *dead*: by turns one that never fires but has a read-out, and one that fires but has none;
    - *cancelling* pairs: both read the inputs of one block, alike, and write to its output with opposite signs.
      Ablating one has an effect, ablating both has none;
    - an *unrelated* block, which computes a function of its own inputs for an output of its own that no loss counts.

    The rotations are those of ``net.W_E`` and ``W_U``: the net reads ``W_E x`` and answers ``W_U y``, for random
    orthogonal matrices. Losses are those of the answers turned back.

    Args:
        blocks: The functions to compute, each on inputs of its own: ``xor``, ``and`` or ``parity`` (of 3 bits).
        copies: Neurons for each ReLU of a block.
        dead: Neurons that can change no output.
        cancelling: Pairs of neurons that cancel each other; pair ``i`` is at block ``i``, beginning again at the last.
        unrelated: The function of the unrelated block; None for none.
        probability: With which an input is 1, in :meth:`sample`.
        permute: Whether the neurons are permuted.
        rotate: Whether inputs and outputs are rotated.
        loss_power: The exponent of the loss.
        seed: Of scales, read-outs, permutation and rotations.

    Raises:
        SettingError: If a block is unknown or a number is out of range.

    Example:
        >>> model = PlantedModel(["and"], copies=1, dead=1, cancelling=0, unrelated=None, permute=False)
        >>> model.ground_truth()
        {'net.hook_hidden[0]': 'circuit:00', 'net.hook_hidden[1]': 'dead'}
    """

    W_U: Float[Tensor, "output output"]

    def __init__(
        self,
        blocks: Sequence[str] = ("xor", "and", "parity", "xor"),
        *,
        copies: int = 2,
        dead: int = 2,
        cancelling: int = 1,
        unrelated: str | None = "xor",
        probability: float = 0.5,
        permute: bool = True,
        rotate: bool = True,
        loss_power: float = 2.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check(blocks, unrelated, copies=copies, dead=dead, cancelling=cancelling, probability=probability)
        self.save_hyperparameters()
        self.blocks = [BLOCKS[name] for name in blocks]
        self.probability = probability
        self.loss_power = loss_power
        planted = [*self.blocks, *([] if unrelated is None else [BLOCKS[unrelated]])]
        neurons = _neurons(planted, self.task_names, copies, dead, cancelling, generator(seed, "neurons"))
        if permute:
            neurons = [neurons[i] for i in torch.randperm(len(neurons), generator=generator(seed, "permutation"))]
        self.roles = tuple(neuron.role for neuron in neurons)
        n_inputs, n_outputs = sum(block.n for block in planted), len(planted)
        self.net = CISNet(n_inputs, len(neurons), n_outputs, embedding=n_inputs)
        turned_in, turned_out = (
            orthogonal(n, generator(seed, name)) if rotate else torch.eye(n)
            for n, name in ((n_inputs, "inputs"), (n_outputs, "outputs"))
        )
        self.register_buffer("W_U", turned_out)
        with torch.no_grad():
            self.net.W_E = turned_in
            self.net.W_in.weight.copy_(torch.stack([neuron.incoming for neuron in neurons]) @ turned_in.T)
            self.net.W_in.bias.copy_(torch.tensor([neuron.bias for neuron in neurons]))
            self.net.W_out.weight.copy_(turned_out @ torch.stack([neuron.outgoing for neuron in neurons], dim=1))
            self.net.W_out.bias.zero_()

    @property
    def n_inputs(self) -> int:
        """The number of inputs, those of the unrelated block included."""
        return self.net.n_inputs

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of the blocks that the loss counts: ``circuit:00`` and so on."""
        digits = max(2, len(str(len(self.blocks) - 1)))
        return tuple(f"circuit:{block:0{digits}d}" for block in range(len(self.blocks)))

    @property
    def trivial_loss(self) -> float:
        """The loss of always answering 0, exactly."""
        p = self.probability
        shares = [
            math.comb(block.n, ones) * p**ones * (1 - p) ** (block.n - ones) * float(block(torch.tensor(float(ones))))
            for block in self.blocks
            for ones in range(block.n + 1)
        ]
        return sum(shares) / len(self.blocks)

    @property
    def loss_unit(self) -> str:
        """What the loss, and that of every block, is counted in."""
        return error_unit(self.loss_power)

    def ground_truth(self) -> dict[str, str]:
        """Returns the role of every neuron by address: its circuit, ``dead``, ``cancelling:00`` or ``unrelated``."""
        return {f"net.hook_hidden[{neuron}]": role for neuron, role in enumerate(self.roles)}

    def matters(self) -> dict[str, bool]:
        """Returns by address whether a neuron is of a circuit; of those that cancel, one matters and two do not."""
        known = {address: role for address, role in self.ground_truth().items() if not role.startswith("cancelling")}
        return {address: role not in ("dead", UNRELATED) for address, role in known.items()}

    def sample(self, n: int, generator: torch.Generator) -> tuple[Bits, Answers]:
        """Draws ``n`` examples: independent bits, and what the blocks that the loss counts answer to them."""
        x = (torch.rand(n, self.n_inputs, generator=generator) < self.probability).float()
        ones = x @ _reads(self.blocks, self.n_inputs).T
        return x, torch.stack([block(ones[:, i]) for i, block in enumerate(self.blocks)], dim=1)

    def forward(self, x: Bits) -> Answers:
        """Returns the blocks' answers, turned back, without the unrelated one."""
        return (self.net(x) @ self.W_U)[:, : len(self.blocks)]

    def per_example_loss(self, batch: tuple[Bits, Answers]) -> Float[Tensor, "example"]:
        """Returns the mean over blocks of ``|answer - y|^loss_power`` of every example."""
        x, y = batch
        return power_of(self(x) - y, self.loss_power).mean(dim=-1)

    def per_task_loss(self, batch: tuple[Bits, Answers]) -> tuple[Answers, Bool[Tensor, "example block"]]:
        """Returns ``|answer - y|^loss_power`` of every example and block; every example counts for every block."""
        x, y = batch
        return power_of(self(x) - y, self.loss_power), torch.ones_like(y, dtype=torch.bool)


def _neurons(
    planted: list[Block], names: tuple[str, ...], copies: int, dead: int, cancelling: int, draws: torch.Generator
) -> list[_Neuron]:
    n_inputs = sum(block.n for block in planted)
    own = _reads(planted, n_inputs)
    answers = torch.eye(len(planted))
    roles = [*names, UNRELATED]
    neurons = [
        neuron
        for block, role, reads, writes in zip(planted, roles, own, answers, strict=False)
        for neuron in _split(block, role, reads, writes, copies, draws)
    ]
    for number in range(dead):
        incoming, outgoing = (torch.randn(n, generator=draws) for n in (n_inputs, len(planted)))
        neurons.append(
            _Neuron(DEAD, incoming, 1.0, torch.zeros_like(outgoing))
            if number % 2
            else _Neuron(DEAD, incoming, -1.0 - float(incoming.relu().sum()), outgoing)
        )
    for pair in range(cancelling):
        block = pair % len(names)
        reads, writes = own[block] * (0.5 + torch.rand(n_inputs, generator=draws)), answers[block]
        neurons += [_Neuron(f"cancelling:{pair:02d}", reads, 0.0, sign * writes) for sign in (1, -1)]
    return neurons


def _split(
    block: Block,
    role: str,
    reads: Float[Tensor, "input"],
    writes: Float[Tensor, "output"],
    copies: int,
    draws: torch.Generator,
) -> list[_Neuron]:
    """Returns the neurons of a block: each of its ReLUs as copies of different scales and shares of the read-out."""
    neurons: list[_Neuron] = []
    for offset, coefficient in enumerate(block.coefficients):
        if not coefficient:
            continue
        scales, shares = (0.5 + torch.rand(2, copies, generator=draws)).unbind()
        shares = shares / shares.sum()
        for i in range(copies):
            scale, share = float(scales[i]), float(shares[i])
            neurons.append(_Neuron(role, scale * reads, -scale * offset, coefficient * share / scale * writes))
    return neurons


def _reads(blocks: Sequence[Block], n_inputs: int) -> Float[Tensor, "block input"]:
    """Returns 1 where a block reads an input: each its own, one block after the other."""
    reads, first = torch.zeros(len(blocks), n_inputs), 0
    for row, block in zip(reads, blocks, strict=True):
        row[first : first + block.n] = 1.0
        first += block.n
    return reads


def orthogonal(n: int, draws: torch.Generator) -> Float[Tensor, "row column"]:
    """Returns a uniformly distributed orthogonal matrix (Mezzadri 2007, arXiv:math-ph/0609050)."""
    normal = torch.randn(n, n, generator=draws, dtype=torch.float64)
    factors = torch.linalg.qr(normal)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    q, r = cast("tuple[Tensor, Tensor]", factors)
    return (q * r.diagonal().sign()).float()


def _check(
    blocks: Sequence[str], unrelated: str | None, *, copies: int, dead: int, cancelling: int, probability: float
) -> None:
    if not blocks:
        raise SettingError("blocks is empty; give at least one, such as xor.")
    for name in [*blocks, *([] if unrelated is None else [unrelated])]:
        if name not in BLOCKS:
            raise SettingError(unknown("block", name, BLOCKS))
    at_least(1, copies=copies)
    at_least(0, dead=dead, cancelling=cancelling)
    if not 0 < probability < 1:
        raise SettingError(f"probability is {probability}; give a number between 0 and 1.")
