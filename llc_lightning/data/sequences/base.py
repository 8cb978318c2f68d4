"""What a task for transformers is: a distribution of sequences, with the positions at which something is predicted.

An example is a whole sequence; its loss is the mean over the positions that have a target.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor

Inputs: TypeAlias = Int64[Tensor, "example position"] | Float[Tensor, "example position number"]
"""Tokens, or vectors."""
Targets: TypeAlias = Num[Tensor, "example position"]
"""What is to be predicted at each position: a token, :data:`NO_TARGET` where there is none; or a number, NaN where
there is none."""
Sequences: TypeAlias = tuple[Inputs, Targets]
"""A batch."""
Outputs: TypeAlias = Float[Tensor, "example position output"]
Split: TypeAlias = Literal["train", "validation"]

NO_TARGET = -100
"""The target of a position at which no token is predicted."""


class SequenceTask(ABC):
    """A distribution of sequences."""

    trivial: ClassVar[str] = "uniform"
    """The baseline that does not look at the input."""

    @property
    @abstractmethod
    def length(self) -> int:
        """The number of positions."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """The number of tokens, or 0 for a task of vectors."""

    @property
    def width(self) -> int | None:
        """The width of the vectors, None for a task of tokens."""
        return None

    @property
    def cycle(self) -> int:
        """How many tokens, from 0 on, are the numbers of a cycle; 0 for none."""
        return 0

    @property
    def described(self) -> str:
        """Says what the examples are taken from, where that may differ from machine to machine; else ''."""
        return ""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator, split: Split = "train") -> Sequences:
        """Draws ``n`` examples; the splits differ where there is a finite number of examples."""

    def pool(self, split: Split, seed: int) -> Sequences | None:
        """Returns all examples of a split, or None where there is no end of them."""
        return None

    def baselines(self, seed: int) -> dict[str, float]:
        """Returns the losses of simple predictors by name, to be read beside the trained net's."""
        return {"uniform": math.log(self.vocabulary)}

    def metrics(self, outputs: Outputs, batch: Sequences) -> dict[str, Float[Tensor, "example"]]:
        """Returns what else is known of every example at a net's outputs, by name."""
        return {}

    def labels(self, batch: Sequences) -> dict[str, Int64[Tensor, "example"]]:
        """Returns what is known of every example by construction, by name, for ablations to be conditioned on.

        Nothing here. ``resample(label=NAME)`` then is causal scrubbing under the hypothesis that a component tells this
        alone: its activation comes from another example of the same label.
        """
        return {}


def has_target(targets: Targets) -> Bool[Tensor, "example position"]:
    """Returns where something is predicted."""
    return ~targets.isnan() if targets.is_floating_point() else targets != NO_TARGET


def permutations(n: int, size: int, generator: torch.Generator) -> Int64[Tensor, "n size"]:
    """Draws ``n`` independent orders of the numbers below ``size``."""
    return torch.rand(n, size, generator=generator).argsort(dim=1)
