"""The record of one estimate: the value, its error, and everything needed to judge and repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.estimators import Estimate
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.runtime.errors import SettingError, unknown

if TYPE_CHECKING:
    import xarray as xr

_ABOUT_ONE = 1e-3


@dataclass(frozen=True, kw_only=True)
class LLCRecord:
    """One estimate of the local learning coefficient ``n_beta E[L(w) - L(w*)]`` at a resolution (n_beta, gamma).

    ``value`` is that of the estimator in the settings over the healthy chains, NaN where the status says the estimate
    failed. ``per_chain`` has the means of all chains, NaN for those that died or exploded; R-hat, ESS and MCSE are
    those of the mean. ``correction`` is Delta, what the value misses because w* is not a minimum, and
    ``predicted_bias`` what the step size adds to it in the quadratic approximation, NaN where there is no formula.
    ``noise_bias`` is what the noise of minibatches adds to it, to first order, or where that is little a bound of it: 0
    with the full batch, NaN where it is not known.
    Lengths are Euclidean, of the moved weights, ``distance`` the root mean square over draws; losses are in the unit of
    the loss function.
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
    rhat_nested: float
    """Over 8 groups of chains; NaN for fewer than 16."""
    ess: float
    ess_tail: float
    mcse: float
    dimension: int
    correction: float
    curvature: float
    """The largest absolute eigenvalue of the Hessian of the loss at w*, along the moved weights."""
    predicted_bias: float
    noise_bias: float
    noise_bias_stderr: float
    temperature: float
    """What the virial is of its value in equilibrium: above 1 the chains are too hot, below 1 not there yet; NaN where
    the curvature is 0."""
    estimates: Mapping[str, Estimate]
    """By the name of the estimator, the value's own among them; in a ladder also the ``slope`` from the rung below."""
    tasks: Mapping[str, Estimate]
    """``n_beta E[L_task(w) - L_task(w*)]`` of every task that was recorded, over the same draws."""
    excess_loss: float
    """``value / n_beta``."""
    distance: float
    expected_distance: float
    """In the quadratic approximation at w*; larger on losses that are flatter farther out."""
    weight_norm: float
    model_norm: float
    gradient_norm: float
    gradient_noise: float
    """The standard error of the gradient norm, as if the examples were drawn; NaN for one example."""
    loss: float
    loss_stderr: float
    n_examples: int
    acceptance: float
    """The share of accepted proposals, burn-in included; NaN where the sampler makes none."""
    box_hits: float
    """The share of single weights' moves that the box held back, burn-in included; 0 without one."""
    evaluations: int
    """Gradients of single examples that the chains took."""
    weights_digest: str
    """Names w*."""
    vmapped: bool
    excess: Float[Tensor, "chain step"] = field(repr=False, compare=False)
    baseline: Float[Tensor, "chain step"] = field(repr=False, compare=False)
    observed: Mapping[str, Float[Tensor, "chain draw ..."]] = field(
        default_factory=dict[str, Tensor], repr=False, compare=False
    )
    """What was asked to be observed, by name, at the draws that were looked at; none where no chain ran."""

    def interval(self, level: float = 0.9, *, of: str = "") -> tuple[float, float]:
        """Returns the confidence interval of the value, by Student's t with chains - 1 degrees of freedom.

        Args:
            level: How often it holds what it is about.
            of: The name of another estimate, such as ``variance``, whose interval it is instead.

        Raises:
            SettingError: If there is no such estimate, or the level is not between 0 and 1.
        """
        from scipy.stats import t

        if of and of not in self.estimates:
            raise SettingError(unknown("estimate", of, self.estimates))
        if not 0 < level < 1:
            raise SettingError(f"level is {level!r}; give a number between 0 and 1.")
        found = self.estimates[of] if of else Estimate(self.value, self.stderr)
        if self.healthy_chains < 2:
            return (math.nan, math.nan)
        reach = float(t.ppf(0.5 + level / 2, self.healthy_chains - 1)) * found.stderr
        return (found.value - reach, found.value + reach)

    @property
    def corrected(self) -> float:
        """The value plus Delta: the value at the minimum that w* is near."""
        return self.value + self.correction

    @property
    def autocorrelation_time(self) -> float:
        """How many draws count as one: all draws over the bulk effective sample size."""
        return self.healthy_chains * self.settings.draws / self.ess if self.ess > 0 else math.nan

    @property
    def wbic(self) -> float:
        """Watanabe's Bayesian information criterion ``n E[L]``, in nats; NaN but at its own n_beta, ``n / ln n``.

        It is the free energy where the loss is a negative log-likelihood. Source: Watanabe 2013, arXiv:1208.6338.
        """
        n = self.n_examples
        own = n > 1 and abs(self.n_beta * math.log(n) / n - 1) < _ABOUT_ONE
        return n * (self.loss + self.excess_loss) if own else math.nan

    def facts(self) -> dict[str, Any]:
        """Returns the whole record but the draws, as a nest of plain values."""
        plain = {name: value for name, value in vars(self).items() if name not in ("excess", "baseline", "observed")}
        nested = {name: {key: asdict(each) for key, each in plain.pop(name).items()} for name in ("estimates", "tasks")}
        derived = {"paired": True, "autocorrelation_time": self.autocorrelation_time, "wbic": self.wbic}
        return {**plain, **nested, **derived, "settings": asdict(self.settings)}

    def with_estimates(self, more: Mapping[str, Estimate]) -> LLCRecord:
        """Returns the record with more estimates beside the others."""
        return replace(self, estimates={**self.estimates, **more})

    def to_datatree(self) -> xr.DataTree:
        """Returns the record for ArviZ: the kept draws in the group ``posterior``, everything else as attributes.

        The draws are ``llc`` (n_beta times the excess loss), ``excess`` and ``loss``; dimensions (chain, draw).
        """
        from llc_lightning.llc.datatree import to_datatree

        return to_datatree(self)

    def to_devinterp(self) -> xr.DataTree:
        """Returns the kept draws in the schema of devinterp 2's ``sample``, so that its ``compute_llc`` opens them."""
        from llc_lightning.llc.datatree import to_devinterp

        return to_devinterp(self)
