"""A score that knows nothing, to compare others with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.base import SCORES, Question, Score, check_whole
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.exact import KIND
from llc_lightning.runtime.seeding import generator


@SCORES.register("random", summary="a random number from 0 to 1", also=("baseline",), estimates=False)
@dataclass(frozen=True)
class Random(Score):
    """A number of each edge, keyed by the seed and the draw."""

    draw: int = 0

    def scores(self, question: Question, edges: Sequence[Edge]) -> list[Effect]:
        """Returns the numbers, the same for an edge whatever others are asked for."""
        check_whole(self, edges)
        every = torch.rand(len(question.graph.edges), generator=generator(question.seed, "random edges", self.draw))
        known = {edge: float(value) for edge, value in zip(question.graph.edges, every, strict=True)}
        return [Effect("edge_score", str(edge), KIND, self.name, value=known[edge], stderr=0.0) for edge in edges]
