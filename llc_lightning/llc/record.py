"""The record of one estimate: the value, its error, and everything needed to judge and repeat it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.settings import ChainSettings


@dataclass(frozen=True, kw_only=True)
class LLCRecord:
    """One estimate of the local learning coefficient ``n_beta E[L(w) - L(w*)]`` at a resolution (n_beta, gamma).

    ``value`` is the mean over the healthy chains, NaN where the status says the estimate failed; ``per_chain`` has all
    chains, NaN for those that died or exploded. ``correction`` is Delta, what the value misses because w* is not a
    minimum. Lengths are Euclidean, of the moved weights; losses are in the unit of the loss function.
    """

    value: float
    stderr: float
    status: str
    n_beta: float
    gamma: float
    step_size: float
    settings: ChainSettings
    seed: int
    replicate: int
    healthy_chains: int
    per_chain: tuple[float, ...]
    rhat: float
    ess: float
    ess_tail: float
    mcse: float
    dimension: int
    correction: float
    curvature: float
    predicted_bias: float
    excess_loss: float
    distance: float
    weight_norm: float
    model_norm: float
    gradient_norm: float
    loss: float
    loss_stderr: float
    n_examples: int
    vmapped: bool
    excess: Float[Tensor, "chain step"] = field(repr=False, compare=False)
    baseline: Float[Tensor, "chain step"] = field(repr=False, compare=False)

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Returns the confidence interval of the value, by Student's t with chains - 1 degrees of freedom."""
        from scipy.stats import t

        if self.healthy_chains < 2:
            return (math.nan, math.nan)
        reach = float(t.ppf(0.5 + level / 2, self.healthy_chains - 1)) * self.stderr
        return (self.value - reach, self.value + reach)

    @property
    def corrected(self) -> float:
        """The value plus Delta: the value at the minimum that w* is near."""
        return self.value + self.correction
