"""What a measurement of the LLC under ablation measures: components, methods, a ladder, and how chains are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar

from torch import nn

from llc_lightning.ablation.engine.base import check_components, entry_of, resolve_methods
from llc_lightning.ablation.engine.mask import check_mask
from llc_lightning.ablation.engine.replacing import check_replacing
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.measurable import find_measurable
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.measure.jobs import Job, revision_of, settings_name
from llc_lightning.measure.measurements import check_each_once
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import at_least, unless_none

BASELINE: Mapping[str, object] = {"mask": ""}
"""What names of settings leave out, at the value that it had by default when it was added."""
REVISION = 3
"""Of how re-optimised models are told: since 2 of the whole one also whether it is one of several minima."""
CLOSING = {"llc_unrecovered": 2, "recovery_closure": 2}
"""What is told of chains around the trained weights, with its revision: since 2 they start at the posterior's mode."""


@dataclass(frozen=True, kw_only=True)
class AblatedLLCPlan:
    """The LLC of the model without each component, under each ablation, at every rung of a ladder of resolutions.

    Raises:
        SettingError: If there is no component, method or rung, one comes twice, a method is unknown or edits weights,
            or a number is out of range.
    """

    kind: ClassVar[str] = "ablated_llc"
    repeatable: ClassVar[bool] = True
    components: tuple[str, ...]
    """What ``find_components`` understands."""
    methods: tuple[str, ...]
    """Names of registered ablation methods, with their options."""
    n_beta: tuple[float, ...]
    """Inverse temperatures times the number of examples."""
    gamma: float
    """Strength of the localisation."""
    settings: ChainSettings = field(default_factory=ChainSettings)
    budget: int = 500
    """Iterations of a re-optimisation at most."""
    closure: bool = False
    """Whether to run chains around the trained weights as well, and say whether the numbers close."""
    complement: bool = False
    """Whether to measure the whole model with each component's weights held as well."""
    joint: bool = False
    """Whether to measure each ablated model with its constant as one more weight as well."""
    examples: int | None = None
    """How many examples to measure on, from the first on; None for all."""
    mask: str = ""
    """Which positions count: an entry of the examples, or ``NAME!=NUMBER``; '' for the module's own, else all."""

    def __post_init__(self) -> None:
        check_each_once(components=self.components, methods=self.methods, n_beta=self.n_beta)
        check_replacing(self.methods)
        check_mask(self.mask)
        at_least(1, **unless_none(examples=self.examples))
        at_least(10, budget=self.budget)
        _ = self.resolutions

    @property
    def resolutions(self) -> list[Resolution]:
        """The rungs of the ladder."""
        return [Resolution(float(rung), float(self.gamma)) for rung in self.n_beta]

    @property
    def revision(self) -> int:
        """The revision of the chains and of all methods together, and of the closure where it is asked for."""
        closing = CLOSING["recovery_closure"] if self.closure else 1
        return revision_of(llc_revision(self.settings), REVISION, closing, *self.revisions.values())

    @property
    def revisions(self) -> dict[str, int]:
        """The revision of every method, by its name in rows."""
        return {method.name: entry_of(method).revision for method in resolve_methods(self.methods)}

    def fitted(self, n_examples: int) -> AblatedLLCPlan:
        """Returns the plan for so many examples: all of them where there are fewer than it asks for."""
        return self if self.examples is None else replace(self, examples=min(self.examples, n_examples))

    def components_of(self, module: nn.Module, data: Batch | None = None) -> list[Component]:
        """Returns what is ablated in a module; with examples, words leave out what cannot be.

        Raises:
            AddressError: If an address names nothing, or a component has no activation.
            SettingError: If a method that mixes units is asked to ablate some of them.
        """
        if data is None:
            components = find_components(module, self.components)
        else:
            components = find_measurable(module, self.components, data, activation=True)
        check_components(components, resolve_methods(self.methods))
        return components

    def settings_at(self, at: Resolution, *, data: str, replicate: int, method: str = "", quantity: str = "") -> str:
        """Returns what names the settings in rows of a method; '' for those of the control."""
        always = {"measure": self.kind, "n_beta": at.n_beta, "gamma": at.gamma, "data": data, "replicate": replicate}
        chains = asdict(self.settings) | {"step_fraction": self.settings.fraction}
        options = chains | {"budget": self.budget, "mask": self.mask}
        return settings_name(always, options, baseline=BASELINE, revision=self.revision_with(method, quantity))

    def revision_with(self, method: str, quantity: str = "") -> int:
        """Returns the revision of the chains, a method and what is told together; '' for those that have none."""
        own = [self.revisions[method]] if method else []
        return revision_of(llc_revision(self.settings), REVISION, CLOSING.get(quantity, 1), *own)

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        """Returns one job for each component, method and rung, rung by rung within a method within a component."""
        return [
            Job(
                quantity,
                component,
                self.settings_at(at, data=data, replicate=replicate, method=method, quantity=quantity),
                method=method,
                resolution=at,
                revision=self.revision_with(method, quantity),
                moved=f"all-{component.address}",
            )
            for component in components
            for quantity, methods in self._asked.items()
            for method in methods
            for at in self.resolutions
        ]

    @property
    def _asked(self) -> dict[str, tuple[str, ...]]:
        """The quantities that stand for jobs, each with the methods that it is measured under; '' for none."""
        every = tuple(self.revisions)
        closing = {"recovery_closure": every} if self.closure else {}
        joint = {"joint_shift": every} if self.joint else {}
        return {"llc_shift": every, **closing, **joint, **({"complement_shift": ("",)} if self.complement else {})}

    @property
    def breadth(self) -> tuple[int, int]:
        """How many rungs there are, and how many methods."""
        return len(self.n_beta), len(self.methods)

    def narrowed(self, rungs: int, methods: int) -> AblatedLLCPlan:
        """Returns the plan with the lowest rungs and the first methods."""
        return replace(self, n_beta=tuple(sorted(self.n_beta)[:rungs]), methods=self.methods[:methods])

    def cost(self, jobs: Sequence[Job]) -> int:
        """Returns the steps of the chains of some jobs and of the whole model's, which every process runs."""
        return (len(jobs) + len(self.n_beta)) * self.settings.steps

    def owns(self, quantity: str, loss: str) -> bool:
        """Says whether a row is a shift of the LLC that is asked for: what belongs to it comes beside."""
        return quantity in self._asked
