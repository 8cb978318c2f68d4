"""Plans: what is measured at a snapshot, in plain values that a config file can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, TypeAlias

from torch import nn

from llc_lightning.ablation.base import resolve_methods
from llc_lightning.ablation.metrics import resolve_metrics
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.llc.parts import Resolution
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.jobs import Job
from llc_lightning.results.schema import settings_hash
from llc_lightning.runtime.checks import at_least, unless_none
from llc_lightning.runtime.errors import SettingError

TRAIN = "train"
"""The training loss, in the column ``loss``."""


@dataclass(frozen=True, kw_only=True)
class LLCPlan:
    """Estimates of the local learning coefficient of every component at every rung of a ladder of resolutions.

    Raises:
        SettingError: If there is no component or rung, one comes twice, or a number is out of range.
    """

    kind: ClassVar[str] = "llc"
    examples: ClassVar[int | None] = None
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
        _check_each_once("components", self.components)
        _check_each_once("n_beta", self.n_beta)
        _check_each_once("losses", self.losses)
        _ = self.resolutions

    @property
    def resolutions(self) -> list[Resolution]:
        """The rungs of the ladder."""
        return [Resolution(float(rung), float(self.gamma)) for rung in self.n_beta]

    def fitted(self, n_examples: int) -> LLCPlan:
        """Returns the plan for so many examples: itself, since it uses all that there are."""
        return self

    def components_of(self, module: nn.Module) -> list[Component]:
        """Returns what is measured of a module.

        Raises:
            AddressError: If an address names nothing.
            SettingError: If a component has no weights.
        """
        found = find_components(module, self.components)
        without = [component.address for component in found if not component.weights]
        if without:
            raise SettingError(
                f"{without[0]!r} has no weights of its own, so it has no restricted LLC; address a Linear or Conv, "
                "or declare the weights of the hook point with weight_axes()."
            )
        return found

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
        chains = asdict(self.settings) | {"sampled": loss}
        place = {"measure": self.kind, "n_beta": rung, "gamma": self.gamma, "data": data, "replicate": replicate}
        return settings_hash(place | chains)

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns one job for each component, loss and rung, rung by rung within a loss within a component."""
        rungs = [
            (self.settings_at(at.n_beta, data=data, replicate=replicate, loss=loss), at, loss)
            for loss in self.losses
            for at in self.resolutions
        ]
        return [
            Job("llc", part, settings, resolution=at, loss=loss) for part in components for settings, at, loss in rungs
        ]


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """Ablation effects of every component by every method.

    Raises:
        SettingError: If there is no component or method, one comes twice, or one is unknown.
    """

    kind: ClassVar[str] = "ablation"
    components: tuple[str, ...]
    """What ``find_components`` understands."""
    methods: tuple[str, ...]
    """Names of registered ablation methods, with options as in ``noise(scale=0.5)``."""
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

    def __post_init__(self) -> None:
        _check_each_once("components", self.components)
        _check_each_once("methods", self.methods)
        resolve_methods(self.methods)
        resolve_metrics(self.metrics)
        at_least(0, resamples=self.resamples)
        at_least(1, **unless_none(examples=self.examples))

    def fitted(self, n_examples: int) -> AblationPlan:
        """Returns the plan for so many examples: all of them where there are fewer than it asks for."""
        return self if self.examples is None else replace(self, examples=min(self.examples, n_examples))

    def components_of(self, module: nn.Module) -> list[Component]:
        """Returns what is ablated in a module.

        Raises:
            AddressError: If an address names nothing.
            SettingError: If a component has no activation.
        """
        found = find_components(module, self.components)
        without = [component.address for component in found if not component.point]
        if without:
            raise SettingError(
                f"{without[0]!r} has no activation, so it cannot be ablated; address a hook point or units of one, "
                "such as 'layers' or 'neurons'."
            )
        return found

    def settings_with(self, data: str) -> str:
        """Returns what names the settings in rows.

        Components and other methods do not enter, since they change no value: measuring more leaves rows as they are.

        Args:
            data: The digest of the examples.
        """
        # Options at their defaults are left out, so that new ones leave the names of old rows as they are.
        named = {name: getattr(self, name) for name in ("metrics", "resamples", "warm_start", "seed")}
        used = {name: value for name, value in named.items() if value != getattr(AblationPlan, name)}
        return settings_hash({"measure": self.kind, "data": data} | used)

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns one job for each component and method; a replicate is the same again."""
        settings = self.settings_with(data)
        names = [method.name for method in resolve_methods(self.methods)]
        return [Job("ablation_effect", part, settings, method=name) for part in components for name in names]


Plan: TypeAlias = LLCPlan | AblationPlan


def _check_each_once(name: str, values: tuple[object, ...]) -> None:
    if not values:
        raise SettingError(f"{name} is empty; give at least one.")
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise SettingError(f"{name} has {twice[0]!r} twice; give each once.")
