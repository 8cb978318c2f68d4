"""Modular addition: memorised first, understood much later."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from llc_lightning.data.sequences.base import NO_TARGET, Sequences, SequenceTask, Split
from llc_lightning.runtime.errors import SettingError, at_least
from llc_lightning.runtime.seeding import generator


@dataclass(frozen=True)
class ModularAddition(SequenceTask):
    """The sequences ``a b =`` of all a and b below the modulus; at the end ``a + b`` modulo it is asked for.

    A random share of all pairs is trained on. A net that is kept simple by weight decay first memorises them, and
    generalises long after (grokking; Power et al. 2022, arXiv:2201.02177), by trigonometric identities in a few
    frequencies (Nanda et al. 2023, arXiv:2301.05217).

    Raises:
        SettingError: If a number is out of range.
    """

    modulus: int = 53
    """What numbers are added modulo."""
    train_share: float = 0.5
    """The share of pairs that is trained on; the others are validated on."""

    def __post_init__(self) -> None:
        at_least(2, modulus=self.modulus)
        if not 0 < self._n_train < self.modulus**2:
            raise SettingError(
                f"train_share is {self.train_share}; give a share between 0 and 1 that leaves pairs for both splits."
            )

    @property
    def _n_train(self) -> int:
        return round(self.train_share * self.modulus**2)

    @property
    def length(self) -> int:
        """Three: two numbers and the sign of equality."""
        return 3

    @property
    def vocabulary(self) -> int:
        """The numbers and the sign of equality."""
        return self.modulus + 1

    @property
    def cycle(self) -> int:
        """The numbers below the modulus."""
        return self.modulus

    def baselines(self, seed: int) -> dict[str, float]:
        """Returns the loss of a uniform guess among the numbers."""
        return {"uniform": math.log(self.modulus)}

    def sample(self, n: int, generator: torch.Generator, split: Split = "train") -> Sequences:
        """Draws ``n`` pairs among all; a finite task is trained on its :meth:`pool`."""
        return self._sequences(torch.randint(self.modulus**2, (n,), generator=generator))

    def pool(self, split: Split, seed: int) -> Sequences:
        """Returns all pairs of a split, in random order; the seed decides which pairs those are."""
        order = torch.randperm(self.modulus**2, generator=generator(seed, "split"))
        return self._sequences(order[: self._n_train] if split == "train" else order[self._n_train :])

    def labels(self, batch: Sequences) -> dict[str, Int64[Tensor, "example"]]:
        """Returns the ``first`` and the ``second`` number of every pair, and the ``answer``, their sum."""
        inputs, targets = batch
        return {"first": inputs[:, 0], "second": inputs[:, 1], "answer": targets[:, -1]}

    def _sequences(self, pair: torch.Tensor) -> Sequences:
        a, b = pair // self.modulus, pair % self.modulus
        inputs = torch.stack((a, b, torch.full_like(a, self.modulus)), dim=1)
        none = torch.full_like(a, NO_TARGET)
        return inputs, torch.stack((none, none, (a + b) % self.modulus), dim=1)
