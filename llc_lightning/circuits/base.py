"""What a way to score edges is: exactly, by gradients, or by nothing that runs the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from llc_lightning.ablation.engine.base import Method, resolve_methods
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.spelling import spell, unspell
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.graph import Graph
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.registry import Registry


@dataclass(frozen=True)
class Question:
    """What edges are asked: on which network and examples, and what takes a sender's place."""

    loss: ModuleLoss
    params: Params
    data: Batch
    graph: Graph
    donor: Method
    metric: Metric | None = None
    """What is measured; None for the loss."""
    counterfactual: Batch | None = None
    """The examples' partners, for the donor ``counterfactual``."""
    mask: str = ""
    seed: int = 0
    chunk: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What is measured, as rows spell it."""
        return "train" if self.metric is None else f"metric:{self.metric.name}"

    def check_minimised(self) -> None:
        """Checks that less is better of what is measured.

        Raises:
            SettingError: If it is a metric of which more is better, or neither is known to be.
        """
        if self.metric is not None and not self.metric.minimised:
            raise SettingError(
                f"{self.metric.name!r} is not known to be the better the smaller it is, and what is searched for keeps "
                "it small; take the loss or kl, or a search by sizes of effects: top, greedy, path_patching."
            )

    @classmethod
    def of(
        cls,
        loss: ModuleLoss,
        params: Params,
        data: Batch,
        graph: Graph,
        donor: str | Method = "resample",
        metric: str | Metric = "",
        *,
        seed: int,
        counterfactual: Batch | None = None,
        mask: str = "",
    ) -> Question:
        """Returns the question, with donor and metric by their names.

        Raises:
            SettingError: If a name is unknown, or several are given.
        """
        donors, metrics = resolve_methods(donor), resolve_metrics([metric] if metric else [])
        if len(donors) != 1:
            raise SettingError(f"{len(donors)} donors are given for one circuit; give one.")
        return cls(
            loss.with_edits(()), params, data, graph, donors[0], metrics[0] if metrics else None, counterfactual, mask,
            seed,
        )  # fmt: skip


@dataclass(frozen=True)
class ScoreFacts:
    """What every way to score edges says of itself when it is registered."""

    estimates: bool
    """Whether its scores stand for effects: have their unit and sign."""
    at_clean: bool = False
    """Whether it looks at gradients of the unablated run alone, where a metric that has its minimum there has none."""


@dataclass(frozen=True)
class Score(ABC):
    """A way to score edges; its options are the fields of its class, written as those of ablation methods."""

    @cached_property
    def name(self) -> str:
        """Its registered name, with the options that are not the default ones."""
        return spell(next(name for name, entry in SCORES.items() if entry.item is type(self)), self)

    @abstractmethod
    def scores(self, question: Question, edges: Sequence[Edge]) -> list[Effect]:
        """Returns the scores of edges, in their order: each with error, status and the edge as its component."""
        ...


SCORES: Registry[type[Score], ScoreFacts] = Registry(
    "way to score edges", ScoreFacts, rooms=("llc_lightning.circuits.scores",)
)
"""All ways to score edges by name."""


def facts_of(score: Score) -> ScoreFacts:
    """Returns what a way to score edges says of itself."""
    return next(entry.facts for _, entry in SCORES.items() if entry.item is type(score))


def check_whole(score: Score, edges: Sequence[Edge]) -> None:
    """Checks that no edge is at some positions alone, which a score does not tell apart.

    Raises:
        SettingError: If one is.
    """
    some = next((edge for edge in edges if "@" in edge.sender), None)
    if some is not None:
        raise SettingError(
            f"{str(some)!r} is at some positions alone, and {score.name!r} scores an edge at all of them; leave the "
            "positions out, or take exact effects."
        )


def edge_scores(
    question: Question, score: str | Score = "exact", edges: str | Edge | Sequence[str | Edge] = "*"
) -> list[Effect]:
    """Returns the scores of edges, in the order in which they are selected.

    Args:
        question: The network, examples and donor.
        score: The way to score them, by name and options as in ``eap_ig(steps=10)``, or as an object.
        edges: Which edges, as :meth:`Graph.select` takes them.

    Raises:
        LLCLightningError: If something names nothing or cannot be used; the message says what to change.
    """
    chosen = unspell(score, SCORES) if isinstance(score, str) else score
    if facts_of(chosen).at_clean and question.metric is not None and question.metric.flat:
        raise SettingError(
            f"{question.metric.name!r} has its minimum at the unablated run, so that its gradient and all scores of "
            f"{chosen.name!r} are 0 there; take the loss or another metric, or a score that looks elsewhere: eap_ig."
        )
    return chosen.scores(question, question.graph.select(edges))
