"""Indirect objects: two names, of which one comes again; the other is asked for at the end."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from llc_lightning.data.sequences.base import (
    NO_TARGET,
    Inputs,
    Outputs,
    Sequences,
    SequenceTask,
    Split,
    permutations,
)
from llc_lightning.runtime.errors import at_least


@dataclass(frozen=True)
class IndirectObject(SequenceTask):
    """Two names A and B, then one of them again (the subject S), then an end token: the other (IO) is the answer.

    The three names stand at random places among random filler words, so that positions tell nothing. It is the task of
    Wang et al. 2022 (arXiv:2211.00593), "When A and B went to the shop, B gave a drink to", reduced to its computation.

    Raises:
        SettingError: If a number is out of range.
    """

    names: int = 12
    """Different names."""
    fillers: int = 12
    """Different filler words."""
    positions: int = 12
    """The length of a sequence."""

    def __post_init__(self) -> None:
        at_least(2, names=self.names)
        at_least(1, fillers=self.fillers)
        at_least(4, positions=self.positions)

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.positions

    @property
    def vocabulary(self) -> int:
        """The names, then the fillers, then the end token."""
        return self.names + self.fillers + 1

    def baselines(self, seed: int) -> dict[str, float]:
        """Returns the losses of a uniform guess among the names, and among the two that occur."""
        return {"uniform": math.log(self.names), "one_of_two": math.log(2)}

    def sample(self, n: int, generator: torch.Generator, split: Split = "train") -> Sequences:
        """Draws ``n`` sequences."""
        inputs = torch.randint(self.fillers, (n, self.positions), generator=generator) + self.names
        inputs[:, -1] = self.vocabulary - 1
        places = permutations(n, self.positions - 1, generator)[:, :3].sort(dim=1).values
        two = permutations(n, self.names, generator)[:, :2]
        subject = torch.randint(2, (n, 1), generator=generator)
        inputs.scatter_(1, places, torch.cat((two, two.gather(1, subject)), dim=1))
        targets = torch.full_like(inputs, NO_TARGET)
        targets[:, -1] = two.gather(1, 1 - subject)[:, 0]
        return inputs, targets

    def places(self, inputs: Inputs) -> dict[str, Int64[Tensor, "example"]]:
        """Returns where the subject comes first (``S1``) and again (``S2``), and where the other name is (``IO``)."""
        place = torch.arange(self.positions, device=inputs.device)
        named = (inputs < self.names)[:, None] & (inputs[:, None] == inputs[:, :, None])
        count = named.sum(dim=2)
        return {
            "S1": torch.where(count == 2, place, self.positions).amin(dim=1),
            "S2": torch.where(count == 2, place, -1).amax(dim=1),
            "IO": torch.where(count == 1, place, -1).amax(dim=1),
        }

    def labels(self, batch: Sequences) -> dict[str, Int64[Tensor, "example"]]:
        """Returns of every sequence the ``answer``, the ``subject`` and the ``order``: 0 for S IO S, 1 for IO S S."""
        inputs, targets = batch
        where = self.places(inputs)
        subject = inputs.gather(1, where["S2"][:, None])[:, 0]
        return {"answer": targets[:, -1], "subject": subject, "order": (where["IO"] < where["S1"]).long()}

    def metrics(self, outputs: Outputs, batch: Sequences) -> dict[str, Float[Tensor, "example"]]:
        """Returns by how much the other name's logit exceeds the subject's at the end."""
        inputs, _ = batch
        where, last = self.places(inputs), outputs[:, -1]
        other, subject = (inputs.gather(1, where[name][:, None]) for name in ("IO", "S2"))
        return {"logit_difference": (last.gather(1, other) - last.gather(1, subject))[:, 0]}
