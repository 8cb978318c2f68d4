"""What a measurement of circuits measures: which edges, by which score and donor, and by which search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn

from llc_lightning.ablation.engine.base import Method, Shared, entry_of, resolve_methods
from llc_lightning.ablation.engine.entries import HasCounterfactual
from llc_lightning.ablation.engine.mask import check_mask
from llc_lightning.ablation.engine.spelling import unspell
from llc_lightning.ablation.metrics import resolve_metrics
from llc_lightning.circuits.base import SCORES, Question, Score, facts_of
from llc_lightning.circuits.discovery.base import DISCOVERIES, Discovery
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.faithfulness import CONSTANTS
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.scores.exact import Exact
from llc_lightning.circuits.scores.random import Random
from llc_lightning.circuits.scores.weight_norm import WeightNorm
from llc_lightning.components.component import Component
from llc_lightning.measure.jobs import Job, revision_of, settings_name
from llc_lightning.measure.measurements import check_each_once
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.batches import Batch, n_examples, take
from llc_lightning.runtime.errors import SettingError, at_least, unless_none

KIND = "edge"
_OF_GRADIENTS = 8
"""Passes over the examples that a score of all edges together is taken to cost."""
_RECORDING = (0.3, 7)
"""Seconds of recording, and passes over the examples in it, as on a transformer of two layers."""
_RECORDS_NOTHING = (Random, WeightNorm)
"""Ways to score edges that do not run the network."""
_EXAMPLES = 256
"""Examples that a plan for all of them is taken to have."""
BASELINE: Mapping[str, object] = {"mask": "", "joined": False, "neurons": False, "seed": None}
"""The options that name settings, each with the default that it had when it was added: names leave it out there."""


@dataclass(frozen=True)
class Search(Component):
    """What a plan looks for among all edges: one circuit, or circuits on examples drawn anew."""

    edges: int = 0
    """How many there are."""

    @classmethod
    def once(cls, edges: int) -> Search:
        """Returns the search for the circuit."""
        return cls("search", "", edges=edges)

    @classmethod
    def resampled(cls, edges: int) -> Search:
        """Returns the searches on examples drawn anew."""
        return cls("resamples", "", edges=edges)

    @property
    def quantity(self) -> str:
        """Of the row that stands for it."""
        return "circuit_edges" if self.address == "search" else "circuit_resamples"


@dataclass(frozen=True, kw_only=True)
class CircuitPlan:
    """The score of every edge, and a search's circuit.

    Raises:
        SettingError: If there is no edge, one comes twice, or a name is unknown.
    """

    kind: ClassVar[str] = "circuit"
    repeatable: ClassVar[bool] = False
    components: tuple[str, ...] = ("*",)
    """What ``Graph.select`` understands."""
    score: str = "exact"
    """The way to score edges, with options as in ``eap_ig(steps=10)``."""
    donor: str = "resample"
    """What takes a sender's place: an ablation method of activations."""
    metric: str = ""
    """What is measured instead of the loss, such as ``kl``."""
    search: str = ""
    """The way to find a circuit, with options as in ``acdc(threshold=0.05)``; '' for none."""
    resamples: int = 0
    """How many circuits to find on examples drawn anew, for the share that hold an edge; 0 for none."""
    examples: int | None = None
    """How many examples to measure on, from the first on; None for all."""
    mask: str = ""
    """Which positions count, as of ablations."""
    joined: bool = False
    """Whether the embeddings of token and position are one sender."""
    neurons: bool = False
    """Whether the neurons of MLPs are senders and readers of their own."""
    seed: int | None = None
    """Keys donors and searches; None for the seed of the run."""

    def __post_init__(self) -> None:
        check_each_once(components=self.components)
        check_mask(self.mask)
        at_least(1, **unless_none(examples=self.examples))
        metrics = resolve_metrics([self.metric] if self.metric else [])
        donor, searched, _ = self.donated_by, self.searched_by, self.scored_by
        if self.resamples:
            at_least(2, resamples=self.resamples)
            if searched is None:
                raise SettingError(
                    "resamples counts the circuits that hold an edge, and there is no search; give one, as in "
                    "search: acdc, or leave resamples out."
                )
        if searched is not None and not isinstance(donor, Shared):
            raise SettingError(
                f"a search needs a donor's values, and {self.donor!r} fits them or edits weights; take zero, mean, "
                "resample or counterfactual."
            )
        if searched is not None and searched.minimises and metrics and not metrics[0].minimised:
            raise SettingError(
                f"{self.metric!r} is not known to be the better the smaller it is, and {self.search!r} keeps it small; "
                "take the loss or kl, or a search by sizes of effects: top, greedy, path_patching."
            )

    @property
    def scored_by(self) -> Score:
        """The way to score edges."""
        return unspell(self.score, SCORES)

    @property
    def searched_by(self) -> Discovery | None:
        """The way to find a circuit; None for none."""
        return unspell(self.search, DISCOVERIES) if self.search else None

    @property
    def donated_by(self) -> Method:
        """What takes a sender's place."""
        return resolve_methods(self.donor)[0]

    @property
    def quantity(self) -> str:
        """What the score of an edge is in the table."""
        return "edge_effect" if facts_of(self.scored_by).estimates else "edge_score"

    @property
    def loss(self) -> str:
        """What is measured, as rows spell it."""
        (name,) = [one.name for one in resolve_metrics([self.metric])] if self.metric else [""]
        return f"metric:{name}" if name else "train"

    def fitted(self, n_examples: int) -> CircuitPlan:
        """Returns the plan for so many examples: all of them where there are fewer than it asks for."""
        return self if self.examples is None else replace(self, examples=min(self.examples, n_examples))

    def graph_of(self, module: nn.Module) -> Graph:
        """Returns the edges that there are.

        Raises:
            AddressError: If the module has no sums whose parts are known.
        """
        return Graph.of(module, joined=self.joined, neurons=self.neurons)

    def components_of(self, module: nn.Module, data: Batch | None = None) -> list[Component]:
        """Returns the edges, each under its own name as what its sender says; in front of them the searches.

        Raises:
            AddressError: If an entry names no edge, or the module has none.
        """
        graph = self.graph_of(module)
        edges = graph.select(self.components)
        searches = [Search.once(len(graph.edges))] if self.search else []
        searches += [Search.resampled(len(graph.edges))] if self.resamples else []
        return [
            *searches,
            *(replace(graph.sender(one).component, address=str(one), kind=KIND, weights=()) for one in edges),
        ]

    def question(self, snapshot: Snapshot) -> Question:
        """Returns what is asked of the edges at a snapshot.

        Raises:
            SettingError: If the plan asks for more examples than there are, or the donor for partners that nobody
                makes.
        """
        n = n_examples(snapshot.data)
        if self.examples is not None and self.examples > n:
            raise SettingError(
                f"examples is {self.examples}, but there are {n} to measure on; give at most that, or null for all."
            )
        data, partners = take(snapshot.data, slice(0, self.examples)), None
        if entry_of(self.donated_by).facts.needs_partner:
            if not isinstance(snapshot.loss.module, HasCounterfactual):
                raise SettingError(
                    f"the donor {self.donor!r} needs a partner of each example; give the module a method "
                    "counterfactual(batch)."
                )
            partners = snapshot.loss.asked("counterfactual", snapshot.params, data)
        return Question.of(
            snapshot.loss, snapshot.params, data, self.graph_of(snapshot.loss.module), self.donor, self.metric,
            seed=snapshot.seed if self.seed is None else self.seed, counterfactual=partners, mask=self.mask,
        )  # fmt: skip

    @property
    def revision(self) -> int:
        """The revision of the engine of circuits and the donor together."""
        return revision_of(3, entry_of(self.donated_by).revision)

    def settings_with(self, data: str, *, resamples: int = 0) -> str:
        """Returns what names the settings in rows; score, search and donor stand in the method.

        Args:
            data: The digest of the examples.
            resamples: Circuits that a share is of.
        """
        options = {name: getattr(self, name) for name in BASELINE} | {"resamples": resamples}
        always, baseline = {"measure": self.kind, "data": data}, {**BASELINE, "resamples": 0}
        return settings_name(always, options, baseline=baseline, revision=self.revision)

    @property
    def method(self) -> str:
        """How edges are scored, and under which donor, as rows spell it."""
        return f"{self.scored_by.name}:{self.donated_by.name}"

    @property
    def found_by(self) -> str:
        """How circuits are found, and what says what they lack, as rows spell it; '' without a search."""
        search = self.searched_by
        if search is None:
            return ""
        return f"{search.name}:{CONSTANTS if getattr(search, 'constants', False) else self.donated_by.name}"

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns one job for each edge and search."""
        settings, resampled = self.settings_with(data), self.settings_with(data, resamples=self.resamples)
        shared: dict[str, Any] = {"loss": self.loss, "revision": self.revision}
        scored, quantity, found = self.method, self.quantity, list[Job]()
        for one in components:
            if not isinstance(one, Search):
                found.append(Job(quantity, one, settings, method=scored, **shared))
            elif self.search:
                nameless, again = replace(one, address=""), one.quantity == "circuit_resamples"
                found.append(
                    Job(one.quantity, nameless, resampled if again else settings, method=self.found_by, **shared)
                )
        return found

    @property
    def recorded(self) -> tuple[float, int]:
        """Seconds and passes that recording takes, once; (0, 0) where the network is not run."""
        return _RECORDING if self.search or not isinstance(self.scored_by, _RECORDS_NOTHING) else (0.0, 0)

    @property
    def breadth(self) -> tuple[int, int]:
        """One rung, and the scores beside the search, where there is one."""
        return 1, 2 if self.search else 1

    def narrowed(self, rungs: int, methods: int) -> CircuitPlan:
        """Returns the plan without its search, where that is too much."""
        return self if methods > 1 else replace(self, search="", resamples=0)

    def cost(self, jobs: Sequence[Job]) -> int:
        """Returns about how many passes over the examples these jobs take."""
        edges = sum(job.component.kind == KIND for job in jobs)
        scores = edges if isinstance(self.scored_by, Exact) else min(edges, _OF_GRADIENTS)
        return scores + sum(self._passes(job) for job in jobs if isinstance(job.component, Search))

    def _passes(self, job: Job) -> int:
        """Returns about how many passes a search takes."""
        search, part = self.searched_by, job.component
        if search is None or not isinstance(part, Search):
            return 0
        return search.passes(part.edges, self.examples or _EXAMPLES) * (
            self.resamples if job.quantity == "circuit_resamples" else 1
        )

    def owns(self, quantity: str, loss: str) -> bool:
        """Says whether a row stands for an edge's score or for a search; what a search finds comes beside."""
        return quantity in (self.quantity, "circuit_edges", "circuit_resamples")


def edge_of(component: Component) -> Edge:
    """Returns the edge that a component stands for."""
    return Edge.parse(component.address)
