"""What a way to find circuits is: from a network that runs on some of its edges to the edges that are enough."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.spelling import spell, unspell
from llc_lightning.circuits.base import Question
from llc_lightning.circuits.circuit import Circuit, ScoredEdge
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.registry import NoFacts, Registry


@dataclass(frozen=True)
class Discovery(ABC):
    """A way to find circuits; its options are the fields of its class, written as those of ablation methods."""

    minimises: ClassVar[bool] = True
    """Whether it keeps loss or metric small, so that less must be better; else it looks at sizes of effects."""

    @property
    def scores_are_effects(self) -> bool:
        """Whether what it says of an edge is in the unit of the loss or metric; else a pure number."""
        return True

    def passes(self, edges: int, n_examples: int) -> int:
        """Returns about how often it passes over all examples: once for each edge.

        Args:
            edges: How many edges there are.
            n_examples: How many examples.
        """
        return edges

    @cached_property
    def name(self) -> str:
        """Its registered name, with the options that are not the default ones."""
        return spell(next(name for name, entry in DISCOVERIES.items() if entry.item is type(self)), self)

    @abstractmethod
    def find(self, runs: MaskedRuns) -> Circuit:
        """Returns the circuit, with a score of each of its edges and in ``search`` how they were looked for."""
        ...

    def circuit(
        self, runs: MaskedRuns, scored: Sequence[ScoredEdge], search: Mapping[str, float | int | str]
    ) -> Circuit:
        """Returns the circuit of some edges, the largest scores first; those that lead nowhere are left out."""
        asked = runs.subject.question
        heard = asked.graph.heard([one.edge for one in scored])
        kept = sorted((one for one in scored if one.edge.reader in heard), key=lambda one: -abs(one.score))
        return Circuit(
            tuple(kept), method=self.name, donor=asked.donor.name, loss=asked.name, seed=asked.seed,
            n_examples=runs.subject.examples.blocks.n, of=len(runs.edges), search=dict(search),
        )  # fmt: skip


DISCOVERIES: Registry[type[Discovery], NoFacts] = Registry(
    "way to find circuits", NoFacts, rooms=("llc_lightning.circuits.discovery",)
)
"""All ways to find circuits by name."""


def find_circuit(question: Question | MaskedRuns, method: str | Discovery) -> Circuit:
    """Returns a circuit.

    Args:
        question: The network, examples and donor, or its runs; what is kept small is its loss, or its metric.
        method: How it is looked for, by name and options as in ``acdc(threshold=0.1)``, or as an object.

    Raises:
        LLCLightningError: If something names nothing or cannot be used; the message says what to change.
    """
    chosen = unspell(method, DISCOVERIES) if isinstance(method, str) else method
    asked = question.subject.question if isinstance(question, MaskedRuns) else question
    if chosen.minimises:
        asked.check_minimised()
    return chosen.find(question if isinstance(question, MaskedRuns) else MaskedRuns(Subject(question)))


def rise(losses: Float[Tensor, "example"], base: Float[Tensor, "example"], edge: Edge) -> ScoredEdge:
    """Returns an edge with how far the loss rises without it, and the error of that over examples."""
    apart = (losses - base).double()
    stderr = float(apart.std()) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
    status = "nan-loss" if torch.isnan(apart.mean()) else "one-example" if len(apart) == 1 else "ok"
    return ScoredEdge(edge, float(apart.mean()), stderr, status)
