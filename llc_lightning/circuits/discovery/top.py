"""The edges with the largest scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llc_lightning.ablation.engine.spelling import unspell
from llc_lightning.circuits.base import SCORES, edge_scores, facts_of
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.discovery.base import DISCOVERIES, Discovery
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import at_least


@DISCOVERIES.register("top", summary="the edges with the largest scores, of any way to score them")
@dataclass(frozen=True)
class Top(Discovery):
    """As many edges as are asked for; those among them that lead nowhere are left out."""

    minimises: ClassVar[bool] = False
    score: str = "exact"
    """The way to score edges."""
    edges: int = 10

    def __post_init__(self) -> None:
        """Checks the settings."""
        at_least(1, edges=self.edges)

    @property
    def scores_are_effects(self) -> bool:
        """Whether its scores stand for effects."""
        return facts_of(unspell(self.score, SCORES)).estimates

    def find(self, runs: MaskedRuns) -> Circuit:
        """Returns the circuit."""
        scores = edge_scores(runs.subject.question, self.score)
        return self.circuit(runs, Circuit.top(scores, self.edges, **told(runs)).scored, {"score": self.score})


def told(runs: MaskedRuns) -> dict[str, str | int]:
    """Returns what a circuit keeps of the question that it answers."""
    asked = runs.subject.question
    return {"method": "", "donor": asked.donor.name, "loss": asked.name, "seed": asked.seed}
