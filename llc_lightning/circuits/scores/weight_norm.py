"""How large the weights between two parts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.base import SCORES, Question, Score, check_whole
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.exact import KIND
from llc_lightning.circuits.streams import Streams
from llc_lightning.circuits.wiring.base import UnitMap


@SCORES.register(
    "weight_norm", summary="Frobenius norm of the product of the sender's and the reader's weights",
    source="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits (composition, not normalised)",
    also=("composition",), estimates=False,
)  # fmt: skip
@dataclass(frozen=True)
class WeightNorm(Score):
    """``|W_out W_in|``, where either is the identity where a part writes or reads the sum itself. It sees no data."""

    def scores(self, question: Question, edges: Sequence[Edge]) -> list[Effect]:
        """Returns the norms."""
        check_whole(self, edges)
        streams = Streams(question.loss, question.params, [])
        return [
            Effect("edge_score", str(edge), KIND, self.name, value=self._norm(question, streams, edge), stderr=0.0)
            for edge in edges
        ]

    def _norm(self, question: Question, streams: Streams, edge: Edge) -> float:
        sender, reader = question.graph.sender(edge), question.graph.reader(edge)
        written = [_matrix(streams, one, sender.unit) for one in sender.writes]
        read = _matrix(streams, reader.reads, reader.unit)
        total = 0.0
        for one in written:
            product = read if one is None else one if read is None else one @ read
            total += 1.0 if product is None else float(product.double().square().sum())
        return total**0.5


def _matrix(streams: Streams, through: UnitMap | None, unit: int) -> Tensor | None:
    return None if through is None else streams.matrix(through, torch.tensor([unit]))[0]
