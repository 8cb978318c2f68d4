"""What a measurement of posterior structure measures: components, watched examples, and how chains are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import nn

from llc_lightning.ablation.engine.base import Method, entry_of, resolve_methods
from llc_lightning.ablation.engine.replacing import check_replacing
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.measurable import find_measurable, trained, without_weights
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.measure.jobs import Job, data_digest, revision_of, settings_name
from llc_lightning.measure.measurements import check_each_once
from llc_lightning.runtime.batches import Batch, n_examples
from llc_lightning.runtime.errors import SettingError, at_least, one_line
from llc_lightning.sampling.observables.base import recorded_every

BASELINE: Mapping[str, object] = {"methods": (), "on": ""}
"""What names of settings leave out, at the value that it had by default when it was added."""


@dataclass(frozen=True, kw_only=True)
class PosteriorPlan:
    """Covariances of losses over the draws of each component's chains, and of the whole model's.

    Raises:
        SettingError: If there is no component, one comes twice, or a number is out of range.
    """

    kind: ClassVar[str] = "posterior"
    repeatable: ClassVar[bool] = True
    components: tuple[str, ...]
    """What ``find_components`` understands; the whole model is always measured beside them."""
    n_beta: float
    """Inverse temperature times the number of examples."""
    gamma: float
    """Strength of the localisation."""
    settings: ChainSettings = field(default_factory=ChainSettings)
    watched: int = 256
    """How many examples, drawn at random, are watched one by one."""
    look_every: int | None = None
    """How many draws lie between looks at the watched examples; None for as many as between other close looks."""
    raw: bool = False
    """Whether to keep the losses of the watched examples at every look, from which all else follows."""
    methods: tuple[str, ...] = ()
    """Ablation methods of activations, whose effects are measured at the draws of the whole model's chains."""
    kernels: bool = False
    """Whether to keep the loss kernel of every component, not of the whole model alone."""
    on: str = ""
    """A file of other examples to watch, as ``torch.save`` writes them; '' for some of those that chains sample."""

    def __post_init__(self) -> None:
        check_each_once(components=self.components, **({"methods": self.methods} if self.methods else {}))
        check_replacing(self.methods)
        at_least(2, watched=self.watched)
        at_least(1, look_every=self.every)
        if self.every > self.settings.draws // 2:
            raise SettingError(
                f"look_every is {self.every}, but there are {self.settings.draws} draws; give at most half of "
                "them, for two looks at least."
            )
        if self.on and (self.methods or self.settings.batch_size is not None):
            raise SettingError(
                "with on= the loss of the chains' own examples is needed at every look, and ablations are of these: "
                "leave out batch_size= (null takes all examples) and methods=."
            )
        _ = self.resolution

    @cached_property
    def others(self) -> Batch | None:
        """The examples of ``on``; None where there is no such file.

        Raises:
            SettingError: If it cannot be read, or holds no examples.
        """
        if not self.on:
            return None
        try:
            found: Any = torch.load(self.on, weights_only=True, map_location="cpu")
            n_examples(found)
        except Exception as error:  # of whatever a file may hold
            raise SettingError(
                f"{self.on} holds no examples ({one_line(error)}); give a file that torch.save wrote of a tensor, a "
                "tuple or a dict of tensors, as the module takes them."
            ) from error
        return found

    @property
    def every(self) -> int:
        """How many draws lie between looks."""
        return recorded_every(self.settings.draws) if self.look_every is None else self.look_every

    @property
    def resolution(self) -> Resolution:
        """The pair that values are meant at."""
        return Resolution(float(self.n_beta), float(self.gamma))

    @property
    def examples(self) -> int | None:
        """None, since the chains sample the loss of all examples."""
        return None

    @property
    def revision(self) -> int:
        """The revision of the sampler, the estimators, the diagnostics and all methods together."""
        return revision_of(*map(self.revision_with, ("", *self.named_methods)))

    @property
    def named_methods(self) -> dict[str, Method]:
        """The methods by their names in rows."""
        return {method.name: method for method in resolve_methods(self.methods)} if self.methods else {}

    def fitted(self, n_examples: int) -> PosteriorPlan:
        """Returns the plan for so many examples: itself; of fewer than are to be watched all are."""
        return self

    def components_of(self, module: nn.Module, data: Batch | None = None) -> list[Component]:
        """Returns what is measured of a module: the whole of it, and components; words leave out what cannot be.

        Raises:
            AddressError: If an address names nothing.
            SettingError: If a component has no weights.
        """
        spec = ("all", *(name for name in self.components if name != "all"))
        found = find_components(module, spec) if data is None else find_measurable(module, spec, data, weights=True)
        without = without_weights(module, spec, found)
        if without:
            raise SettingError(
                f"{without[0]!r} has no weights of its own, so no chain moves it; address a Linear or Conv, or declare "
                "the weights of the hook point with weight_axes()."
            )
        components = [trained(component, module) for component in found if component.weights]
        for method in self.named_methods.values():
            for component in components:
                if component.point:
                    method.check(component)
        return components

    def settings_with(self, *, data: str, replicate: int, method: str = "") -> str:
        """Returns what names the settings in rows; a method's have its revision."""
        always = {"measure": self.kind, "n_beta": self.n_beta, "gamma": self.gamma, "data": data}
        options = asdict(self.settings) | {"step_fraction": self.settings.fraction}
        others = "" if self.others is None else data_digest(self.others)
        seen = {"replicate": replicate, "watched": self.watched, "look_every": self.every, "on": others}
        return settings_name(always, options | seen, baseline=BASELINE, revision=self.revision_with(method))

    def revision_with(self, method: str) -> int:
        """Returns the revision of the chains and a method together; of the chains alone for ''."""
        chains = llc_revision(self.settings)
        return revision_of(chains, entry_of(self.named_methods[method]).revision) if method else chains

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns one job for each component, and one for each method under which it can be ablated."""
        methods = ("", *self.named_methods)
        named = {method: self.settings_with(data=data, replicate=replicate, method=method) for method in methods}
        revisions = {method: self.revision_with(method) for method in methods}
        return [
            Job(
                "posterior_effect" if method else "functional_variance",
                component,
                named[method],
                method=method,
                resolution=self.resolution,
                revision=revisions[method],
                moved="all" if method else "",
            )
            for component in components
            for method in (methods if component.point else methods[:1])
        ]

    @property
    def breadth(self) -> tuple[int, int]:
        """One rung, and how many methods there are."""
        return 1, max(1, len(self.methods))

    def narrowed(self, rungs: int, methods: int) -> PosteriorPlan:
        """Returns the plan with the first methods."""
        return replace(self, methods=self.methods[:methods])

    def cost(self, jobs: Sequence[Job]) -> int:
        """Returns the steps of the chains of some jobs."""
        return sum(not job.method for job in jobs) * self.settings.steps

    def owns(self, quantity: str, loss: str) -> bool:
        """Says whether a row stands for a component or an ablation: what belongs to it comes beside."""
        return quantity == "functional_variance" or (quantity == "posterior_effect" and bool(self.methods))
