"""What LLC and ablation can say of each other, direction by direction: nets in which it is known who is right.

Each is told once, here: who reads and writes what, which inputs come, and what each score must say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Inputs: TypeAlias = Float[Tensor, "example input"]
Labels: TypeAlias = Float[Tensor, "example answer"]

Draw: TypeAlias = Mapping[tuple[str, ...], int]
"""Inputs that are drawn together: those that are 1, and how often beside the others."""


@dataclass(frozen=True)
class Unit:
    """A hidden neuron, which adds ``writes * relu(reads . stream + bias)`` to the stream, whose places have names."""

    role: str
    reads: Mapping[str, float]
    writes: Mapping[str, float]
    bias: float = 0.0
    layer: int = 0
    matters: bool = True
    """Whether the answer hears of the input through it, alone or together with others that could stand in for it."""


@dataclass(frozen=True)
class Direction:
    """A net in which scores disagree, and what each of them must say."""

    about: str
    says: Mapping[str, str]
    """By the name of a score."""
    units: tuple[Unit, ...]
    draws: tuple[Draw, ...]
    """Independent of each other; their inputs are those of the net."""
    answers: tuple[str, ...] = ("y",)
    """The places of the stream that are read out."""
    loss: Literal["square", "logistic"] = "square"
    """``square``: the squared distance from what the net answers when it is whole; ``logistic``: the cross-entropy of
    a yes or no, which is as likely as the whole net says."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(dict.fromkeys(name for draw in self.draws for on in draw for name in on))

    @property
    def places(self) -> tuple[str, ...]:
        """The names of all places of the stream: inputs, answers, and what neurons say to each other."""
        used = (name for unit in self.units for name in (*unit.reads, *unit.writes))
        return tuple(dict.fromkeys([*self.inputs, *self.answers, *used]))

    @property
    def layers(self) -> tuple[tuple[Unit, ...], ...]:
        """The neurons of each layer."""
        depth = 1 + max(unit.layer for unit in self.units)
        return tuple(tuple(unit for unit in self.units if unit.layer == layer) for layer in range(depth))

    def examples(self) -> tuple[Inputs, Labels]:
        """Returns all examples that there are, each as often as it comes, so that a mean over them is exact.

        Example:
            >>> len(DIRECTIONS["backup"].examples()[0])
            16
        """
        patterns = [_patterns(draw) for draw in self.draws]
        x = torch.stack([torch.cat(rows) for rows in product(*patterns)])
        return x, self.labels(x)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Inputs, Labels]:
        """Draws ``n`` examples."""
        x, y = self.examples()
        rows = torch.randint(len(x), (n,), generator=generator)
        return x[rows], y[rows]

    def labels(self, x: Inputs) -> Labels:
        """Returns what the whole net answers: numbers, or the probability of a yes where the loss is logistic."""
        stream = torch.zeros(len(x), len(self.places), dtype=x.dtype)
        stream[:, [self.places.index(name) for name in self.inputs]] = x
        for units in self.layers:
            reads, bias, writes = (weights.to(x.dtype) for weights in weights_of(units, self.places))
            stream = stream + (stream @ reads.T + bias).relu() @ writes
        answers = stream[:, [self.places.index(name) for name in self.answers]]
        return answers if self.loss == "square" else answers.sigmoid()


def weights_of(
    units: Sequence[Unit], places: Sequence[str]
) -> tuple[Float[Tensor, "unit place"], Float[Tensor, "unit"], Float[Tensor, "unit place"]]:
    """Returns what neurons read, their biases, and what they write."""
    reads, writes = (
        torch.tensor([[side.get(name, 0.0) for name in places] for side in sides], dtype=torch.float64)
        for sides in ([unit.reads for unit in units], [unit.writes for unit in units])
    )
    return reads, torch.tensor([unit.bias for unit in units], dtype=torch.float64), writes


def _patterns(draw: Draw) -> Float[Tensor, "example input"]:
    """Returns the inputs of one draw, those that are 1 and those that are 0, each as often as it comes."""
    names = dict.fromkeys(name for on in draw for name in on)
    return torch.tensor([[float(name in on) for name in names] for on, times in draw.items() for _ in range(times)])


def _bits(names: str) -> tuple[Draw, ...]:
    """Returns inputs that are 0 or 1 at random, one by one."""
    return tuple({(name,): 1, (): 1} for name in names)


def _and(role: str, one: str, other: str, writes: Mapping[str, float], *, matters: bool = True) -> Unit:
    """Returns a neuron that is 1 where two inputs are 1 and 0 elsewhere, well away from the bend of its ReLU."""
    return Unit(role, {one: 2.0, other: 2.0}, writes, bias=-3.0, matters=matters)


def _only(role: str, values: Mapping[str, float], others: str, writes: Mapping[str, float]) -> Unit:
    """Returns a neuron with the given value where one of some inputs is 1, and 0 where another is."""
    return Unit(
        role, {**{one: value + 2.0 for one, value in values.items()}, **dict.fromkeys(others, 0.0)}, writes, -2.0
    )


_CIRCUIT = _and("circuit", "p", "q", {"z": 1.0})
_BESIDE = _bits("pq")
"""An ordinary neuron, which matters, and its inputs: beside what a net is about."""
_BOTH = ("y", "z")
_QUARTERS = dict.fromkeys("abcd", 0.25)
_SMALL = {"a": 0.3, "b": 0.3}
_RARE = "abcdefghijkl"

DIRECTIONS = {
    "backup": Direction(
        "Self-repair: a neuron of the second layer is silent as long as one of the first speaks, and says the same "
        "where that does not.",
        {
            "zero, optimal": "0 for the primary and for the backup, everything for both",
            "mean, resample": "for the primary at most a tenth of what zero says of both",
            "wrLLC": "at n_beta 3000 that of the primary is as if there were no backup",
            "conditional": "once the primary is ablated, the backup has the whole effect, and wrLLC at n_beta "
            "100, where it had none",
        },
        (
            Unit("primary", _QUARTERS, {"y": 1.0}, bias=1.0),
            Unit("backup", {**_QUARTERS, "y": -2.0}, {"y": 1.0}, bias=1.0, layer=1),
        ),
        _bits("abcd"),
    ),
    "simple_important": Direction(
        "Simple but important, and complex but unimportant: one neuron has a large answer to one common input, one "
        "small answers to each of twelve rare ones.",
        {
            "zero": "about ten times more for the simple one",
            "wrLLC": "at n_beta 3000 about 1/2 for the simple one, which must keep one number, several times as much "
            "for the complex one, which must keep twelve",
        },
        (
            _only("simple", {"x": 1.0}, _RARE, {"y": 1.0}),
            _only("complex", {one: 0.2 + 0.1 * (i % 2) for i, one in enumerate(_RARE)}, "x", {"y": 1.0}),
        ),
        ({("x",): 8, **{(one,): 1 for one in _RARE}},),
    ),
    "saturated": Direction(
        "A saturated loss: one neuron makes sure of a yes, beyond what the loss can tell, one leans towards a yes.",
        {
            "zero": "about ten times more for the sure one",
            "wrLLC": "at n_beta 3000 nothing for the sure one, whose answer may change without a loss, about 1 for the "
            "leaning one",
        },
        (
            _only("sure", dict.fromkeys("abcdef", 5.0), "ghijkl", {"y": 4.0}),
            _only("leaning", dict.fromkeys("ghijkl", 0.8), "abcdef", {"y": 1.0}),
        ),
        ({(one,): 1 for one in _RARE},),
        loss="logistic",
    ),
    "dead_large": Direction(
        "Dead but large: a neuron with the largest weights, which never fires.",
        {
            "every ablation": "0",
            "wrLLC": "0, of all its weights and of either side",
            "weight norm": "misleads: the largest",
        },
        (Unit("dead", {"a": 10.0, "b": 10.0}, {"y": 10.0, "z": 10.0}, bias=-40.0, matters=False), _CIRCUIT),
        (*_bits("ab"), *_BESIDE),
        _BOTH,
    ),
    "constrained_unused": Direction(
        "Constrained but unused: a neuron that fires on every input and that nobody reads, so that its silence is a "
        "constraint.",
        {
            "every ablation": "0",
            "wrLLC": "misleads: more than 1/2 for its outgoing weights, which must stay 0, and so for the neuron; 0 "
            "for its incoming weights",
        },
        (Unit("unused", {"a": 1.0, "b": 1.0}, {}, bias=1.0, matters=False), _CIRCUIT),
        (*_bits("ab"), *_BESIDE),
        _BOTH,
    ),
    "cancelling": Direction(
        "A cancelling pair: two neurons read alike and write with opposite signs, so that both together do nothing.",
        {
            "zero": "the same for each alone, 0 for both",
            "wrLLC": "at n_beta 1000 for both at most a quarter of the sum of each alone; for one of them and an "
            "unrelated neuron the sum",
        },
        (Unit("plus", _SMALL, {"y": 0.3}, matters=False), Unit("minus", _SMALL, {"y": -0.3}, matters=False), _CIRCUIT),
        (*_bits("ab"), *_BESIDE),
        _BOTH,
    ),
    "redundant": Direction(
        "A redundant pair: two neurons say the same, and a reader needs to hear it once.",
        {
            "zero, optimal": "0 for each alone, everything for both",
            "wrLLC": "next to 0 for the incoming weights of each and of both, which may change without a loss",
            "conditional": "once one is ablated, the other has the whole effect, and wrLLC of its incoming weights",
        },
        (
            _and("twin", "a", "b", {"heard": 1.0}),
            _and("other twin", "a", "b", {"heard": 1.0}),
            Unit("reader", {"heard": 1.0}, {"y": 1.0}, layer=1),
            Unit("reader", {"heard": 1.0}, {"y": -1.0}, bias=-1.0, layer=1),
        ),
        _bits("ab"),
    ),
    "decoy": Direction(
        "A decoy: a neuron whose activation is the answer, written where nobody reads it, beside the one that answers.",
        {
            "correlation of activation and answer": "misleads: 1 for the decoy",
            "every ablation": "0 for the decoy, everything for the answering one",
            "wrLLC": "0 for the decoy's incoming weights",
        },
        (_and("answering", "a", "b", {"y": 1.0}), _and("decoy", "a", "b", {"aside": 1.0}, matters=False)),
        _bits("ab"),
    ),
    "zero_misleads": Direction(
        "A bias in disguise: a neuron that says the same on every input, so that it tells nothing of any.",
        {"zero": "misleads: most of all", "mean, resample, optimal": "0"},
        (Unit("constant", {}, {"y": 1.0}, bias=2.0, matters=False), _and("circuit", "a", "b", {"y": 1.0})),
        _bits("ab"),
    ),
    "mean_misleads": Direction(
        "A value never seen: a neuron says 0 or 2, which its readers take alike; they would cry out at 1, its mean.",
        {
            "mean": "misleads: most of all",
            "zero, resample, optimal": "0",
            "wrLLC": "next to 0 for its incoming weights",
        },
        (
            Unit("two-valued", {"a": 2.0}, {"heard": 1.0}, matters=False),
            Unit("alarm", {"heard": 2.0}, {"y": 1.0}, bias=-0.5, layer=1, matters=False),
            Unit("alarm", {"heard": 2.0}, {"y": -2.0}, bias=-2.0, layer=1, matters=False),
            Unit("alarm", {"heard": 2.0}, {"y": 1.0}, bias=-3.5, layer=1, matters=False),
            _CIRCUIT,
        ),
        (*_bits("a"), *_BESIDE),
        _BOTH,
    ),
    "resample_misleads": Direction(
        "Values that never meet: an alarm in the second layer compares a neuron with its input, and would only sound "
        "at what the neuron says of another example.",
        {
            "resample": "misleads: most of all",
            "zero, mean, optimal": "0",
            "wrLLC": "next to 0 for its incoming weights",
        },
        (
            Unit("witness", {"a": 1.0}, {"heard": 1.0}, matters=False),
            Unit("alarm", {"heard": 4.0, "a": -4.0}, {"y": 2.0}, bias=-3.0, layer=1, matters=False),
            _CIRCUIT,
        ),
        (*_bits("a"), *_BESIDE),
        _BOTH,
    ),
    "patching_misses": Direction(
        "A joint dependence: the answer needs two neurons, and neither restores anything without the other.",
        {
            "patching what the neurons say of a yes into a no": "misleads: 0 for each, everything for both",
            "zero, mean": "as much for each as for both",
        },
        (
            Unit("left", {"a": 1.0}, {"from left": 1.0}),
            Unit("right", {"b": 1.0}, {"from right": 1.0}),
            Unit("gate", {"from left": 2.0, "from right": 2.0}, {"y": 1.0}, bias=-3.0, layer=1),
        ),
        _bits("ab"),
    ),
    "scrubbing_accepts": Direction(
        "Inputs that always agree: a neuron reads one of two, and nothing measured on such inputs tells which.",
        {
            "scrubbing": "misleads: that it reads the other one explains the whole loss",
            "zero, wrLLC": "blind to it too",
            "scrubbing on inputs that disagree": "that it reads the other one explains nothing",
        },
        (Unit("reader of b", {"b": 1.0}, {"y": 1.0}), _CIRCUIT),
        ({("a", "b"): 1, (): 1}, *_BESIDE),
        _BOTH,
    ),
}
"""By name."""
