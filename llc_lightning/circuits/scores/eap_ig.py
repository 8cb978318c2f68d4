"""Edge attribution with integrated gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.base import SCORES
from llc_lightning.circuits.gradients import Gradient, Subject
from llc_lightning.runtime.batches import chunks
from llc_lightning.runtime.errors import at_least


@SCORES.register(
    "eap_ig", summary="difference to the donor times the mean gradient on the way of the embeddings to it",
    source="Hanna et al. 2024, arXiv:2403.17806; Sundararajan et al. 2017, arXiv:1703.01365",
    also=("ig", "integrated_gradients", "eap-ig-inputs"), estimates=True,
)  # fmt: skip
@dataclass(frozen=True)
class EAPIG(Gradient):
    """``(donor - own) . mean_k dL/d sum``, the gradients at ``inputs + (k + 1/2) / steps (donor - inputs)``.

    The steps are midpoints, whose error falls as ``steps^-2``; the authors' own are left ends, with an error of
    ``1 / steps``. By the axiom of completeness the edges that leave the inputs add up to what exchanging the inputs
    does. Scores are ``incomplete`` where they miss that by more than a twentieth, and ``too-few-steps`` where twice
    the steps change them by more than a tenth.
    """

    steps: int = 5
    check: bool = True
    """Whether to double the steps once to see what that changes, which takes twice the time again."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        at_least(1, steps=self.steps)

    def of_block(self, subject: Subject, block: int) -> Float[Tensor, "edge row"]:
        """Returns the products with the mean gradients, each draw's on its own way."""
        return torch.stack([self._of_draw(subject, block, draw) for draw in range(subject.donor.draws)]).mean(0)

    def finer(self) -> EAPIG | None:
        """Returns the same with twice the steps."""
        return replace(self, steps=2 * self.steps, check=False) if self.check else None

    def _of_draw(self, subject: Subject, block: int, draw: int) -> Float[Tensor, "edge row"]:
        ways = [(k + 0.5) / self.steps for k in range(self.steps)]
        found: list[Tensor] = []
        for some in chunks(self.steps, subject.copies):
            edits = subject.towards(block, draw, ways[some], subject.input_points)
            found.append(subject.attributions(block, draw, edits, len(ways[some])) * len(ways[some]))
        return torch.stack(found).sum(0) / self.steps
