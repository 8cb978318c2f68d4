"""Greater-than: a span of years whose end must come after its beginning."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from llc_lightning.data.sequences.base import NO_TARGET, Outputs, Sequences, SequenceTask, Split
from llc_lightning.runtime.errors import at_least


@dataclass(frozen=True)
class GreaterThan(SequenceTask):
    """The sequences ``noun century year to century``, after which any later year of the century is as likely.

    It is the task of Hanna et al. 2023 (arXiv:2305.00586), "The war lasted from the year 1732 to the year 17". The
    best loss is the mean of ``log(years later than the first)``, the baseline ``best``.

    Raises:
        SettingError: If a number is out of range.
    """

    trivial: ClassVar[str] = "frequency"

    years: int = 100
    """Years of a century."""
    centuries: int = 10
    """Centuries that there are."""
    nouns: int = 8
    """Nouns that there are."""

    def __post_init__(self) -> None:
        at_least(2, years=self.years)
        at_least(1, centuries=self.centuries, nouns=self.nouns)

    @property
    def length(self) -> int:
        """Five."""
        return 5

    @property
    def vocabulary(self) -> int:
        """The years, then the centuries, the nouns, and the word ``to``."""
        return self.years + self.centuries + self.nouns + 1

    def baselines(self, seed: int) -> dict[str, float]:
        """Returns the losses of a uniform guess among the years, of a guess by their frequency, and of the best.

        A year ends a span with probability ``sum_(s < year) 1 / ((years - 1) (years - 1 - s))``; guessing by it has the
        entropy of this distribution.
        """
        later = torch.arange(self.years - 1, 0, -1, dtype=torch.float64)
        frequency = (1 / later).cumsum(dim=0) / len(later)
        return {
            "uniform": math.log(self.years),
            "frequency": float(-(frequency * frequency.log()).sum()),
            "best": float(later.log().mean()),
        }

    def sample(self, n: int, generator: torch.Generator, split: Split = "train") -> Sequences:
        """Draws ``n`` sequences."""
        start = torch.randint(self.years - 1, (n,), generator=generator)
        later = torch.rand(n, generator=generator, dtype=torch.float64)
        end = start + 1 + (later * (self.years - 1 - start)).long()
        century = torch.randint(self.centuries, (n,), generator=generator) + self.years
        noun = torch.randint(self.nouns, (n,), generator=generator) + self.years + self.centuries
        inputs = torch.stack((noun, century, start, torch.full_like(noun, self.vocabulary - 1), century), dim=1)
        targets = torch.full_like(inputs, NO_TARGET)
        targets[:, -1] = end
        return inputs, targets

    def labels(self, batch: Sequences) -> dict[str, Int64[Tensor, "example"]]:
        """Returns of every sequence its ``noun``, its ``century`` and its ``start``, the year that a later one follows.

        The start says which answers are right; which of them is the target is drawn at random.
        """
        noun, century, start = batch[0][:, :3].unbind(dim=1)
        return {"noun": noun, "century": century, "start": start}

    def metrics(self, outputs: Outputs, batch: Sequences) -> dict[str, Float[Tensor, "example"]]:
        """Returns the probability that the net gives to the years that come later."""
        inputs, _ = batch
        later = torch.arange(outputs.shape[-1], device=inputs.device) > inputs[:, 2:3]
        later[:, self.years :] = False
        return {"probability_mass": (outputs[:, -1].softmax(dim=-1) * later).sum(dim=-1)}
