"""Repeated blocks: what follows can be told by finding the last token earlier, and copying what came after it."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from llc_lightning.data.sequences.base import NO_TARGET, Sequences, SequenceTask, Split, permutations
from llc_lightning.runtime.errors import SettingError, at_least


@dataclass(frozen=True)
class Induction(SequenceTask):
    """A block of different random tokens, repeated to the end of the sequence.

    Its period is drawn anew for every sequence, so that no fixed distance will do: a net has to look for the token
    before and copy what followed it (induction; Olsson et al. 2022, arXiv:2209.11895). A prediction is asked for where
    the answer is determined in this way: from the first repeated token on.

    Raises:
        SettingError: If a number is out of range.
    """

    tokens: int = 32
    """Tokens that there are, the first of them included."""
    positions: int = 32
    """The length of a sequence."""
    shortest: int = 4
    """Shortest period of a block."""
    longest: int = 16
    """Longest period of a block; it is uniform from ``shortest`` to ``longest``."""
    begins: bool = False
    """Whether every sequence begins with the token 0, which then comes nowhere else."""

    def __post_init__(self) -> None:
        at_least(2, tokens=self.tokens, positions=self.positions)
        at_least(1, shortest=self.shortest)
        room, kinds = self.positions - 2 - self.begins, self.tokens - self.begins
        if not self.shortest <= self.longest <= min(room, kinds):
            raise SettingError(
                f"shortest is {self.shortest} and longest {self.longest}; give 1 <= shortest <= longest <= "
                f"{min(room, kinds)}, so that a block of different tokens fits and some of it is repeated."
            )

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.positions

    @property
    def vocabulary(self) -> int:
        """The number of tokens."""
        return self.tokens

    def baselines(self, seed: int) -> dict[str, float]:
        """Returns the loss of a uniform guess among the tokens that may follow."""
        return {"uniform": math.log(self.tokens - self.begins)}

    def sample(self, n: int, generator: torch.Generator, split: Split = "train") -> Sequences:
        """Draws ``n`` sequences."""
        period = torch.randint(self.shortest, self.longest + 1, (n, 1), generator=generator)
        block = permutations(n, self.tokens - self.begins, generator) + int(self.begins)
        # One place more than positions, since the last position has a target too.
        place = torch.arange(self.positions + 1 - self.begins).expand(n, -1)
        tokens = block.gather(1, place % period)
        known = place > period
        if self.begins:
            tokens = torch.cat((torch.zeros(n, 1, dtype=torch.int64), tokens), dim=1)
            known = torch.cat((torch.zeros(n, 1, dtype=torch.bool), known), dim=1)
        targets: Int64[Tensor, "n position"] = tokens.masked_fill(~known, NO_TARGET)[:, 1:]
        return tokens[:, :-1].contiguous(), targets.contiguous()

    def labels(self, batch: Sequences) -> dict[str, Int64[Tensor, "example"]]:
        """Returns the ``period`` of every sequence: after how many places its first token of the block comes again.

        The token to be copied stands ``period - 1`` places behind, so that the period says where an induction head
        looks, and nothing of what it finds there.
        """
        block = batch[0][:, int(self.begins) :]
        return {"period": (block[:, 1:] == block[:, :1]).long().argmax(dim=1) + 1}
