"""What a diagnostic is and what it looks at, and all of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from llc_lightning.llc.draws import Mixing
from llc_lightning.llc.estimators import Estimate, KeptDraws
from llc_lightning.llc.facts import Bias, Geometry, Motion, Run
from llc_lightning.llc.settings import Resolution
from llc_lightning.runtime.registry import Entry
from llc_lightning.runtime.status import REASONS, Diagnostic, Reason

if TYPE_CHECKING:  # readers of rows ask for the words of reasons, and need no torch
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of one lane at a resolution; without chains where the loss at w* is not finite."""

    at: Resolution
    run: Run
    geometry: Geometry
    bias: Bias = field(default_factory=Bias.unknown)
    mixing: Mixing = field(default_factory=Mixing.unknown)
    motion: Motion = field(default_factory=Motion.unknown)
    losses: "Float[Tensor, 'example']"
    """At w*."""
    whole: bool
    """Whether everything moves, so that the trivial predictor's loss bounds what local can mean."""
    trivial_loss: float | None
    moved: bool = True
    """Whether any chain ever left where it started."""
    begun: float = 0.0
    """``n_beta`` times the excess loss where the chains started: not 0 where that is not w*."""
    step_times_curvature: float = math.nan
    """The step size times the largest curvature where the chains end; NaN where it cannot matter."""
    kept: KeptDraws = field(default_factory=lambda: KeptDraws(np.empty((0, 0)), math.nan, minibatch=False))
    observed: "Mapping[str, Float[Tensor, 'chain draw ...']]" = field(default_factory=dict[str, "Tensor"])
    """What was seen along the healthy chains, by the name of the observable."""
    estimates: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    tasks: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])

    @property
    def value(self) -> Estimate:
        """That of the estimator in the settings."""
        return self.estimates.get(self.run.settings.estimator, Estimate(math.nan, math.nan))

    @property
    def grown(self) -> Estimate:
        """What the chains added to that since they started."""
        return replace(self.value, value=self.value.value - self.begun)

    @property
    def excess_loss(self) -> float:
        """``value / n_beta``."""
        return self.value.value / self.at.n_beta


def diagnostics() -> dict[str, Entry[Diagnostic, Reason]]:
    """Returns all diagnostics by the name of their reason."""
    return {name: cast("Entry[Diagnostic, Reason]", entry) for name, entry in REASONS.items() if entry.item}


def reasons_against(evidence: Evidence) -> list[str]:
    """Returns the names of the reasons that the evidence gives.

    Where one says that there is no value, only such ones: the others are about the value.
    """
    table = diagnostics()
    failed = [name for name, entry in table.items() if entry.facts.failed and entry.item(evidence)]
    flagged = (name for name, entry in table.items() if not entry.facts.failed and entry.item(evidence))
    return failed or list(flagged)
