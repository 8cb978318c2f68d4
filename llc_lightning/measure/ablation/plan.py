"""What an ablation measurement measures: components, methods, metrics, and on which examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from llc_lightning.ablation.engine.base import check_components, entry_of, resolve_methods
from llc_lightning.ablation.engine.mask import check_mask
from llc_lightning.ablation.engine.replacing import by_side
from llc_lightning.ablation.metrics import resolve_metrics
from llc_lightning.ablation.procedures.attribution import check_attributed
from llc_lightning.ablation.significance import check_resamples
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.measurable import find_measurable
from llc_lightning.measure.ablation.guess import guessed
from llc_lightning.measure.jobs import Job, revision_of, settings_name
from llc_lightning.measure.measurements import TRAIN, check_each_once
from llc_lightning.runtime.batches import Batch, Params
from llc_lightning.runtime.errors import at_least, unless_none

BASELINE: Mapping[str, object] = {"metrics": (), "resamples": 0, "warm_start": False, "seed": None, "mask": ""}
"""The options that name settings, each with the default that it had when it was added: names leave it out there."""


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """Ablation effects of every component by every method.

    Raises:
        SettingError: If there is no component or method, one comes twice, one is unknown, or there are too few
            resamples for p-values.
    """

    kind: ClassVar[str] = "ablation"
    repeatable: ClassVar[bool] = False
    components: tuple[str, ...]
    """What ``find_components`` understands."""
    methods: tuple[str, ...]
    """Names of registered ablation methods, with options as in ``noise(scale=0.5)``."""
    attribution: tuple[str, ...] = ()
    """Methods whose effects are also estimated from gradients, for all components in a few passes."""
    metrics: tuple[str, ...] = ()
    """What else to measure besides the loss, such as ``kl``; on the loss ``metric:NAME``."""
    resamples: int = 0
    """Resamples of the intervals and p-values in the details; 0 for none."""
    warm_start: bool = False
    """Whether fitted methods also start from the constants of the snapshot before. Rows then depend on it, and say
    so."""
    examples: int | None = None
    """How many examples to measure on, from the first on; None for all."""
    tasks: bool = True
    """Whether to measure the effect on every task, and the module's own quantities, where it has any."""
    seed: int | None = None
    """Keys donors, noise and resamples; None for the seed of the run."""
    mask: str = ""
    """Which positions count: an entry of the examples, or ``NAME!=NUMBER``; '' for the module's own, else all."""

    def __post_init__(self) -> None:
        check_each_once(components=self.components, methods=self.methods)
        resolve_methods(self.methods)
        if self.attribution:
            check_each_once(attribution=self.attribution)
            check_attributed(self.attribution)
        resolve_metrics(self.metrics)
        check_mask(self.mask)
        check_resamples(self.resamples)
        at_least(1, **unless_none(examples=self.examples))

    def fitted(self, n_examples: int) -> AblationPlan:
        """Returns the plan for so many examples: all of them where there are fewer than it asks for."""
        return self if self.examples is None else replace(self, examples=min(self.examples, n_examples))

    def components_of(self, module: nn.Module, data: Batch | None = None) -> list[Component]:
        """Returns what is ablated in a module; with examples, words leave out what cannot be.

        Raises:
            AddressError: If an address names nothing, or a component lacks the side that a method ablates.
            SettingError: If a method that mixes units is asked to ablate some of them.
        """
        estimated = check_attributed(self.attribution) if self.attribution else []
        methods = [*resolve_methods(self.methods), *estimated]
        if data is None:
            components = find_components(module, self.components)
        else:
            replacing, editing = by_side(methods)
            components = find_measurable(
                module, self.components, data, activation=bool(replacing), weights=bool(editing)
            )
        check_components(components, methods)
        return components

    @property
    def revisions(self) -> dict[str, int]:
        """The revision of every method, by its name in rows."""
        return {method.name: entry_of(method).revision for method in resolve_methods(self.methods)}

    @property
    def attributed(self) -> dict[str, int]:
        """The revision of every estimate from gradients, by its method's name in rows."""
        methods = check_attributed(self.attribution) if self.attribution else []
        return {method.name: entry_of(method).revision for method in methods}

    @property
    def revision(self) -> int:
        """The revision of all its methods together."""
        return revision_of(*self.revisions.values(), *self.attributed.values())

    def guessed(self, components: Sequence[Component], params: Params, examples: int, seconds: float) -> float:
        """Returns about how many seconds an ablation of one of some components takes, the first time."""
        return guessed(components, params, examples, seconds)

    def settings_with(self, data: str, *, revision: int = 1) -> str:
        """Returns what names the settings in rows.

        Components and other methods do not enter, since they change no value: measuring more leaves rows as they are.

        Args:
            data: The digest of the examples.
            revision: Of the method of a row; 1 where there is none.
        """
        options = {name: getattr(self, name) for name in BASELINE}
        return settings_name({"measure": self.kind, "data": data}, options, baseline=BASELINE, revision=revision)

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns one job for each component and method, measured or estimated; a replicate is the same again."""
        asked = [
            *(("ablation_effect", *method) for method in self.revisions.items()),
            *(("attribution", *method) for method in self.attributed.items()),
        ]
        return [
            Job(quantity, component, self.settings_with(data, revision=revision), method=name, revision=revision)
            for component in components
            for quantity, name, revision in asked
        ]

    @property
    def breadth(self) -> tuple[int, int]:
        """One rung, and how many methods there are."""
        return 1, len(self.methods)

    def narrowed(self, rungs: int, methods: int) -> AblationPlan:
        """Returns the plan with the first methods, of which ``zero`` is the very first."""
        return replace(self, methods=tuple(sorted(self.methods, key=lambda name: name != "zero")[:methods]))

    def cost(self, jobs: Sequence[Job]) -> int:
        """Returns the number of jobs."""
        return len(jobs)

    def owns(self, quantity: str, loss: str) -> bool:
        """Says whether a row is an effect on the training loss or its estimate: tasks and metrics come beside."""
        return quantity in ("ablation_effect", "attribution") and loss == TRAIN
