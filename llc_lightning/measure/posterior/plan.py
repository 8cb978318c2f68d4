"""What a measurement of posterior structure measures: components, watched examples, and how chains are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import ClassVar

from torch import nn

from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.measurable import find_measurable, trained, without_weights
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.measure.jobs import Job, settings_name
from llc_lightning.measure.measurements import check_each_once
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import SettingError, at_least

BASELINE: Mapping[str, object] = {}
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
    look_every: int = 1
    """How many draws lie between looks at the watched examples."""
    kernels: bool = False
    """Whether to keep the loss kernel of every component, not of the whole model alone."""

    def __post_init__(self) -> None:
        check_each_once(components=self.components)
        at_least(2, watched=self.watched)
        at_least(1, look_every=self.look_every)
        if self.look_every > self.settings.draws // 2:
            raise SettingError(
                f"look_every is {self.look_every}, but there are {self.settings.draws} draws; give at most half of "
                "them, for two looks at least."
            )
        _ = self.resolution

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
        """The revision of the sampler, the estimators and the diagnostics together."""
        return llc_revision(self.settings)

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
        return [trained(component, module) for component in found if component.weights]

    def settings_with(self, *, data: str, replicate: int) -> str:
        """Returns what names the settings in rows."""
        always = {"measure": self.kind, "n_beta": self.n_beta, "gamma": self.gamma, "data": data}
        options = asdict(self.settings) | {"step_fraction": self.settings.fraction}
        seen = {"replicate": replicate, "watched": self.watched, "look_every": self.look_every}
        return settings_name(always, options | seen, baseline=BASELINE, revision=self.revision)

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns one job for each component."""
        settings = self.settings_with(data=data, replicate=replicate)
        at, revision = self.resolution, self.revision
        return [
            Job("functional_variance", component, settings, resolution=at, revision=revision)
            for component in components
        ]

    def cost(self, jobs: Sequence[Job]) -> int:
        """Returns the steps of the chains of some jobs."""
        return len(jobs) * self.settings.steps

    def owns(self, quantity: str, loss: str) -> bool:
        """Says whether a row stands for a component: what tasks say comes beside."""
        return quantity == "functional_variance"
