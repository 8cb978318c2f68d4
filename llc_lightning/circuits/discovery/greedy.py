"""From the output back, always the edge with the largest score that leads to what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llc_lightning.ablation.engine.spelling import unspell
from llc_lightning.circuits.base import SCORES, edge_scores, facts_of
from llc_lightning.circuits.circuit import Circuit, ScoredEdge
from llc_lightning.circuits.discovery.base import DISCOVERIES, Discovery
from llc_lightning.circuits.discovery.top import told
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import at_least


@DISCOVERIES.register(
    "greedy", summary="grows from the output back by the edge with the largest score that leads to it",
    source="Hanna et al. 2024, arXiv:2403.17806",
)  # fmt: skip
@dataclass(frozen=True)
class Greedy(Discovery):
    """Every edge of it leads on to the output, which the edges with the largest scores need not."""

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
        graph = runs.subject.graph
        scores = edge_scores(runs.subject.question, self.score)
        left = list(Circuit.top(scores, len(scores), **told(runs)).scored)
        chosen: list[ScoredEdge] = []
        for _ in range(min(self.edges, len(left))):
            heard = graph.heard([one.edge for one in chosen])
            best = next((one for one in left if one.edge.reader in heard), None)
            if best is None:
                break
            left.remove(best)
            chosen.append(best)
        return self.circuit(runs, chosen, {"score": self.score})
