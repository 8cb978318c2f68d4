"""The record of one estimate: the value, its error, and everything needed to judge and repeat it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.draws import Draws, Mixing
from llc_lightning.llc.estimators import Estimate
from llc_lightning.llc.facts import Bias, ChainLosses, Geometry, Motion, Run
from llc_lightning.llc.settings import Resolution
from llc_lightning.runtime.errors import SettingError, unknown

if TYPE_CHECKING:
    import xarray as xr

T = TypeVar("T")

_ABOUT_ONE = 1e-3


def _told(tell: Callable[[LLCRecord], T]) -> T:
    """Returns a property of the record, in the type of what it tells."""
    return cast("T", property(tell))


@dataclass(frozen=True, kw_only=True)
class LLCRecord:
    """One estimate of the local learning coefficient ``n_beta E[L(w) - L(w*)]`` at a resolution (n_beta, gamma).

    ``value`` is that of the estimator in the settings over the healthy chains, NaN where the status says the estimate
    failed; R-hat, ESS and MCSE are those of the mean. What is known beside it stands in groups, and can be asked of the
    record itself: ``record.rhat`` is ``record.mixing.rhat``.
    """

    value: float
    stderr: float
    status: str
    at: Resolution
    run: Run
    geometry: Geometry
    bias: Bias
    mixing: Mixing
    motion: Motion
    estimates: Mapping[str, Estimate]
    """By the name of the estimator, the value's own among them; in a ladder also the ``slope`` from the rung below."""
    tasks: Mapping[str, Estimate]
    """``n_beta E[L_task(w) - L_task(w*)]`` of every task that was recorded, over the same draws."""
    chains: ChainLosses = field(repr=False, compare=False)
    observed: Mapping[str, Float[Tensor, "chain draw ..."]] = field(
        default_factory=dict[str, Tensor], repr=False, compare=False
    )
    """What was asked to be observed, by name, at the draws that were looked at; none where no chain ran."""

    n_beta = _told(lambda record: record.at.n_beta)
    gamma = _told(lambda record: record.at.gamma)
    settings = _told(lambda record: record.run.settings)
    seed = _told(lambda record: record.run.seed)
    replicate = _told(lambda record: record.run.replicate)
    step_size = _told(lambda record: record.run.step_size)
    evaluations = _told(lambda record: record.run.evaluations)
    vmapped = _told(lambda record: record.run.vmapped)
    weights_digest = _told(lambda record: record.geometry.weights_digest)
    dimension = _told(lambda record: record.geometry.dimension)
    weight_norm = _told(lambda record: record.geometry.weight_norm)
    model_norm = _told(lambda record: record.geometry.model_norm)
    n_examples = _told(lambda record: record.geometry.n_examples)
    loss = _told(lambda record: record.geometry.loss)
    loss_stderr = _told(lambda record: record.geometry.loss_stderr)
    gradient_norm = _told(lambda record: record.geometry.gradient_norm)
    gradient_noise = _told(lambda record: record.geometry.gradient_noise)
    curvature = _told(lambda record: record.geometry.curvature)
    expected_distance = _told(lambda record: record.geometry.expected_distance)
    correction = _told(lambda record: record.bias.correction)
    predicted_bias = _told(lambda record: record.bias.predicted_bias)
    unsettled = _told(lambda record: record.bias.unsettled)
    noise_bias = _told(lambda record: record.bias.noise_bias)
    noise_bias_stderr = _told(lambda record: record.bias.noise_bias_stderr)
    rhat = _told(lambda record: record.mixing.rhat)
    rhat_nested = _told(lambda record: record.mixing.rhat_nested)
    ess = _told(lambda record: record.mixing.ess)
    ess_tail = _told(lambda record: record.mixing.ess_tail)
    mcse = _told(lambda record: record.mixing.mcse)
    healthy_chains = _told(lambda record: record.motion.healthy_chains)
    per_chain = _told(lambda record: record.motion.per_chain)
    distance = _told(lambda record: record.motion.distance)
    temperature = _told(lambda record: record.motion.temperature)
    acceptance = _told(lambda record: record.motion.acceptance)
    box_hits = _told(lambda record: record.motion.box_hits)
    excess = _told(lambda record: record.chains.excess)
    baseline = _told(lambda record: record.chains.baseline)

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
        asked = self.estimates[of] if of else Estimate(self.value, self.stderr)
        if self.healthy_chains < 2:
            return (math.nan, math.nan)
        reach = float(t.ppf(0.5 + level / 2, self.healthy_chains - 1)) * asked.stderr
        return (asked.value - reach, asked.value + reach)

    @property
    def excess_loss(self) -> float:
        """``value / n_beta``."""
        return self.value / self.n_beta

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
        """Returns the whole record but the draws and what was observed, as a nest of plain values."""
        plain = {name: getattr(self, name) for name in ("value", "stderr", "status", "excess_loss")}
        for group in (self.at, self.run, self.geometry, self.bias, self.mixing, self.motion):
            plain |= asdict(group)
        nested = {
            name: {key: asdict(each) for key, each in estimates.items()}
            for name, estimates in (("estimates", self.estimates), ("tasks", self.tasks))
        }
        return {**plain, **nested, "paired": True, "autocorrelation_time": self.autocorrelation_time, "wbic": self.wbic}

    def with_estimates(self, more: Mapping[str, Estimate]) -> LLCRecord:
        """Returns the record with more estimates beside the others."""
        return replace(self, estimates={**self.estimates, **more})

    def on_cpu(self) -> LLCRecord:
        """Returns the record with draws of its own on the CPU, for processes to exchange."""
        # Copies, since pickling a view of the draws of all lanes would send all of them with every record.
        chains = ChainLosses(self.excess.cpu().clone(), self.baseline.cpu().clone())
        return replace(self, chains=chains, observed={name: seen.clone() for name, seen in self.observed.items()})

    def to_datatree(self) -> xr.DataTree:
        """Returns the record for ArviZ: the kept draws in the group ``posterior``, everything else as attributes.

        The draws are ``llc`` (n_beta times the excess loss), ``excess`` and ``loss``; dimensions (chain, draw).
        """
        excess, loss = self._kept()
        return to_datatree(excess, loss, n_beta=self.n_beta, facts=self.facts())

    def to_devinterp(self) -> xr.DataTree:
        """Returns the kept draws in the schema of devinterp 2's ``sample``, so that its ``compute_llc`` opens them."""
        return to_devinterp(self._kept()[0], n_beta=self.n_beta, loss=self.loss)

    def _kept(self) -> tuple[Draws, Draws]:
        """Returns excess losses and losses of the kept draws, NaN in chains that died."""
        kept = slice(self.settings.burn_in, None)
        excess = self.excess[:, kept].double().cpu().numpy().copy()
        loss = excess + self.baseline[:, kept].double().cpu().numpy()
        dead = [math.isnan(value) for value in self.per_chain]
        excess[dead], loss[dead] = math.nan, math.nan
        return excess, loss


_ATTRIBUTES = ("value", "stderr", "status", "n_beta", "gamma", "step_size")


def to_datatree(excess: Draws, loss: Draws, *, n_beta: float, facts: Mapping[str, Any]) -> xr.DataTree:
    """Returns the kept draws in the group ``posterior``, with the facts of their record as attributes: in full as JSON.

    Args:
        excess: Excess losses, [chain, draw].
        loss: Losses, [chain, draw].
        n_beta: What the excess is multiplied by.
        facts: A nest of plain values.
    """
    import xarray as xr

    dims = ("chain", "draw")
    chains, draws = excess.shape
    posterior = xr.Dataset(
        {"llc": (dims, n_beta * excess), "excess": (dims, excess), "loss": (dims, loss)},
        coords={"chain": np.arange(chains), "draw": np.arange(draws)},
        attrs={**{name: facts[name] for name in _ATTRIBUTES}, "record": json.dumps(facts)},
    )
    root = xr.Dataset(attrs={"inference_library": "llc_lightning"})
    return xr.DataTree(root, {"posterior": xr.DataTree(posterior)})


def to_devinterp(excess: Draws, *, n_beta: float, loss: float) -> xr.DataTree:
    """Returns the kept draws as devinterp 2 keeps them: one micro-batch of one token a step.

    Its ``compute_llc`` averages ``sampling_loss_micro`` over all steps and takes ``init_loss`` off. The steps here are
    the kept draws alone, and the losses are the loss of w* plus the paired excess, so that its values per chain are
    those of the record; chains that died are NaN.

    Args:
        excess: Excess losses, [chain, draw].
        n_beta: Inverse temperature times sample size.
        loss: That of w*.
    """
    import xarray as xr

    steps = ("chain", "step", "batch_sampling", "token_pos")
    config: dict[str, Any] = {"sampler": {"n_beta": n_beta}}
    data = xr.Dataset(
        {
            "sampling_loss_micro": (steps, loss + excess[:, :, None, None]),
            "init_loss": (("chain", "token_pos"), np.full((len(excess), 1), loss)),
        },
        attrs={"metadata": {"config": config}},
    )
    return xr.DataTree(data)
