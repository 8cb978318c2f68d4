"""Exact effects as scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.base import SCORES, Question, Score
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.exact import edge_effects


@SCORES.register(
    "exact", summary="what the loss does when the reader alone hears the donor",
    source="Goldowsky-Dill et al. 2023, arXiv:2304.05969; Wang et al. 2022, arXiv:2211.00593",
    also=("path_patching", "patching"), estimates=True,
)  # fmt: skip
@dataclass(frozen=True)
class Exact(Score):
    """The effect itself (:func:`~llc_lightning.circuits.exact.edge_effects`)."""

    def scores(self, question: Question, edges: Sequence[Edge]) -> list[Effect]:
        """Returns the effects on the question's loss or metric."""
        found = edge_effects(
            question.loss,
            question.params,
            question.data,
            question.graph,
            edges,
            question.donor,
            seed=question.seed,
            metrics=[] if question.metric is None else question.metric,
            counterfactual=question.counterfactual,
            mask=question.mask,
            per_example=True,
            chunk=question.chunk,
        )
        return [one for one in found if one.component and one.loss == question.name]
