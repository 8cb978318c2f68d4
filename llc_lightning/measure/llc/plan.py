"""What an LLC measurement measures: components, a ladder of resolutions, losses, and how the chains are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar

from torch import nn

from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.measurable import find_measurable, trained, without_weights
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.measure.jobs import Job, settings_name
from llc_lightning.measure.measurements import TRAIN, check_each_once
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import SettingError

BASELINE: Mapping[str, object] = {}
"""What a chain setting that joined after the first rows had by default: names leave it out at that value."""


def least(settings: ChainSettings, *, chains: int = 1, draws: int = 1) -> ChainSettings:
    """Returns settings of as few chains and draws as there can be, for a trial."""
    few = {"chains": chains, "draws": draws, "burn_in": 0}
    return replace(settings, **few, curvature_examples="auto", watched_examples=0)


@dataclass(frozen=True, kw_only=True)
class LLCPlan:
    """Estimates of the local learning coefficient of every component at every rung of a ladder of resolutions.

    Raises:
        SettingError: If there is no component or rung, one comes twice, or a number is out of range.
    """

    kind: ClassVar[str] = "llc"
    repeatable: ClassVar[bool] = True
    components: tuple[str, ...]
    """What ``find_components`` understands."""
    n_beta: tuple[float, ...]
    """Inverse temperatures times the number of examples."""
    gamma: float
    """Strength of the localisation."""
    settings: ChainSettings = field(default_factory=ChainSettings)
    losses: tuple[str, ...] = (TRAIN,)
    """The losses to sample: the training loss, or tasks of the module, each on the examples that count for it."""
    tasks: bool = False
    """Whether the chains of the training loss also record the loss of every task of the module."""

    def __post_init__(self) -> None:
        check_each_once(components=self.components, n_beta=self.n_beta, losses=self.losses)
        _ = self.resolutions

    @property
    def resolutions(self) -> list[Resolution]:
        """The rungs of the ladder."""
        return [Resolution(float(rung), float(self.gamma)) for rung in self.n_beta]

    @property
    def examples(self) -> int | None:
        """None, since all examples are measured on."""
        return None

    @property
    def revision(self) -> int:
        """The revision of the sampler, the estimators and the diagnostics together."""
        return llc_revision(self.settings)

    def fitted(self, n_examples: int) -> LLCPlan:
        """Returns the plan for so many examples: itself, since it uses all that there are."""
        return self

    def components_of(self, module: nn.Module, data: Batch | None = None) -> list[Component]:
        """Returns what is measured of a module, with the weights that it trains; words leave out what cannot be.

        Raises:
            AddressError: If an address names nothing.
            SettingError: If a component has no weights.
        """
        if data is None:
            found = find_components(module, self.components)
        else:
            found = find_measurable(module, self.components, data, weights=True)
        without = without_weights(module, self.components, found)
        if without:
            raise SettingError(
                f"{without[0]!r} has no weights of its own, so it has no restricted LLC; address a Linear or Conv, "
                "or declare the weights of the hook point with weight_axes()."
            )
        return [trained(component, module) for component in found if component.weights]

    def settings_at(
        self, rung: float | tuple[float, float] | None, *, data: str, replicate: int, loss: str = TRAIN
    ) -> str:
        """Returns what names the settings in rows: of an estimate at a rung, or of what belongs to none (None).

        Components and other rungs do not enter, since they change no value: measuring more leaves rows as they are.

        Args:
            rung: n_beta, or two of them.
            data: The digest of the examples.
            replicate: Number of the set of random streams.
            loss: The loss that is sampled.
        """
        always = {"n_beta": rung, "gamma": self.gamma, "data": data, "replicate": replicate, "sampled": loss}
        options = asdict(self.settings) | {"step_fraction": self.settings.fraction}
        return settings_name({"measure": self.kind, **always}, options, baseline=BASELINE, revision=self.revision)

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns one job for each component, loss and rung, rung by rung within a loss within a component."""
        rungs = [
            (self.settings_at(at.n_beta, data=data, replicate=replicate, loss=loss), at, loss)
            for loss in self.losses
            for at in self.resolutions
        ]
        return [
            Job("llc", component, settings, resolution=at, loss=loss, revision=self.revision)
            for component in components
            for settings, at, loss in rungs
        ]

    @property
    def breadth(self) -> tuple[int, int]:
        """How many rungs there are, and how many losses."""
        return len(self.n_beta), len(self.losses)

    def narrowed(self, rungs: int, methods: int) -> LLCPlan:
        """Returns the plan with the lowest rungs, which are neighbours, and the first losses."""
        return replace(self, n_beta=tuple(sorted(self.n_beta)[:rungs]), losses=self.losses[:methods])

    def cost(self, jobs: Sequence[Job]) -> int:
        """Returns the steps of the chains of some jobs."""
        return len(jobs) * self.settings.steps

    def owns(self, quantity: str, loss: str) -> bool:
        """Says whether a row is an estimate: norms, corrections and recorded tasks come beside."""
        return quantity == "llc"
