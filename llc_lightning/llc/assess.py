"""From the chains of one lane to its record: estimates, diagnostics, and the reasons against them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llc_lightning.llc.diagnostics import (
    agreement_reasons,
    box_reasons,
    chain_statistics,
    gradient_reasons,
    locality_reasons,
    minimum_reasons,
    noise_reasons,
    rounding_reasons,
    saturation_reasons,
    stability_reasons,
)
from llc_lightning.llc.draws import Draws, error_of
from llc_lightning.llc.estimators import ESTIMATORS, Estimate, Sampled, stein_gap
from llc_lightning.llc.parts import Resolution
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.runtime.status import is_failed, join
from llc_lightning.runtime.types import Params
from llc_lightning.sampling.centre import Centre
from llc_lightning.sampling.chains import Chains
from llc_lightning.sampling.observables.base import apart
from llc_lightning.sampling.slices import Moved
from llc_lightning.sampling.step_size import exploded


@dataclass(frozen=True)
class Around:
    """What the curvature around w* says of one lane at a resolution."""

    correction: float
    predicted_bias: float
    noise_bias: Estimate
    curvature: float
    expected_distance: float
    step_times_curvature: float
    """The largest where the chains end; NaN where it cannot matter."""


@dataclass(frozen=True)
class Assessor:
    """Makes the records of one lane."""

    centre: Centre
    lane: Moved
    settings: ChainSettings
    seed: int
    replicate: int
    whole: bool
    trivial_loss: float | None
    tasks: tuple[str, ...]

    def record(self, at: Resolution, chains: Chains, *, step_size: float, around: Around, vmapped: bool) -> LLCRecord:
        """Returns the record of the lane's chains, whose lane axis is 1."""
        distance2 = chains.observed["squared_distance"]
        dimension = self.lane.layout.dimension
        failed = exploded(chains, torch.tensor([at.n_beta]), dimension)[0]
        kept = at.n_beta * chains.excess[0, :, self.settings.burn_in :].double()
        statistics = chain_statistics(kept, failed, moved=bool(distance2.ne(0).any()))
        sampled = self._sampled(at, chains, ~failed)
        estimates = _estimates(sampled) if statistics.healthy else {}
        own = estimates.get(self.settings.estimator, Estimate(statistics.mean, statistics.stderr))
        value, stderr = (statistics.mean, statistics.stderr) if math.isnan(statistics.mean) else (own.value, own.stderr)
        distance = distance2[0, ~failed].double().mean().sqrt().item() if statistics.healthy else math.nan
        hits = 0.0 if chains.box_hits is None else chains.box_hits[0].double().mean().item()
        reasons = list(statistics.reasons)
        if not math.isnan(value):
            reasons += locality_reasons(
                distance=distance,
                norm=self._model_norm,
                excess_loss=value / at.n_beta,
                trivial_loss=self.trivial_loss if self.whole else None,
            )
            reasons += minimum_reasons(value=value, correction=around.correction, stderr=stderr)
            reasons += agreement_reasons(value=value, gap=stein_gap(sampled), variance=estimates.get("variance"))
            reasons += noise_reasons(value=value, noise_bias=around.noise_bias, stderr=stderr)
            reasons += stability_reasons(around.step_times_curvature)
            reasons += gradient_reasons(*apart(chains.observed["gradient_check"][0, ~failed]))
            if around.curvature > 0:
                reasons += rounding_reasons(excess_loss=value / at.n_beta, losses=self.centre.losses)
            reasons += box_reasons(hits)
            if not self.whole:
                reasons += saturation_reasons(value=value, dimension=dimension)
        status = join(reasons)
        lost = is_failed(status)
        mixing = statistics.mixing
        return LLCRecord(
            value=math.nan if lost else value, stderr=math.nan if lost else stderr, status=status, n_beta=at.n_beta,
            gamma=at.gamma, step_size=step_size, settings=self.settings, seed=self.seed, replicate=self.replicate,
            healthy_chains=statistics.healthy, per_chain=statistics.per_chain, rhat=mixing.rhat,
            rhat_nested=mixing.rhat_nested, ess=mixing.ess, ess_tail=mixing.ess_tail, mcse=mixing.mcse,
            dimension=dimension, correction=around.correction, curvature=around.curvature,
            predicted_bias=around.predicted_bias, noise_bias=around.noise_bias.value,
            noise_bias_stderr=around.noise_bias.stderr, temperature=_temperature(sampled), estimates=estimates,
            tasks=self._task_estimates(at, chains, ~failed),
            excess_loss=value / at.n_beta, distance=distance, expected_distance=around.expected_distance,
            weight_norm=_norm(self.lane.read(self.centre.params)), model_norm=self._model_norm,
            gradient_norm=_norm(self.lane.read(self.centre.gradient)),
            gradient_noise=self._gradient_noise, loss=self.centre.loss, loss_stderr=self.centre.loss_stderr,
            n_examples=len(self.centre.losses),
            acceptance=math.nan if chains.acceptance is None else chains.acceptance[0].double().mean().item(),
            box_hits=hits, evaluations=self._evaluations, weights_digest=self.centre.digest, vmapped=vmapped,
            excess=chains.excess[0], baseline=chains.baseline,
        )  # fmt: skip

    def failed(self, at: Resolution) -> LLCRecord:
        """Returns the record of an estimate whose loss at w* is not finite."""
        nan = math.nan
        nothing = torch.empty(self.settings.chains, 0)
        return LLCRecord(
            value=nan, stderr=nan, status="nan-loss", n_beta=at.n_beta, gamma=at.gamma, step_size=nan,
            settings=self.settings, seed=self.seed, replicate=self.replicate, healthy_chains=0, per_chain=(),
            rhat=nan, rhat_nested=nan, ess=nan, ess_tail=nan, mcse=nan, dimension=self.lane.layout.dimension,
            correction=nan, curvature=nan, predicted_bias=nan, noise_bias=nan, noise_bias_stderr=nan, temperature=nan,
            estimates={}, tasks={}, excess_loss=nan, distance=nan, expected_distance=nan,
            weight_norm=_norm(self.lane.read(self.centre.params)), model_norm=self._model_norm, gradient_norm=nan,
            gradient_noise=nan, loss=nan, loss_stderr=nan, n_examples=len(self.centre.losses), acceptance=nan,
            box_hits=nan, evaluations=0, weights_digest=self.centre.digest, vmapped=True, excess=nothing,
            baseline=nothing,
        )  # fmt: skip

    @property
    def _model_norm(self) -> float:
        return _norm({name: value for name, value in self.centre.params.items() if value.is_floating_point()})

    @property
    def _gradient_noise(self) -> float:
        variance = self.lane.read(self.centre.gradient_variance)
        return math.sqrt(sum(value.double().sum().item() for value in variance.values()))

    @property
    def _evaluations(self) -> int:
        settings = self.settings
        return settings.chains * settings.steps * (settings.batch_size or len(self.centre.losses))

    def _sampled(self, at: Resolution, chains: Chains, healthy: Tensor) -> Sampled:
        def draws(values: Tensor | None, factor: float = 1.0) -> Draws | None:
            if values is None:
                return None
            return (factor * values[0, healthy].double()).cpu().numpy()

        kept = slice(self.settings.burn_in, None)
        virial, trace, blind = apart(chains.observed["virial"])
        first_order = None if chains.first_order is None else chains.first_order[..., kept]
        pair = chains.observed.get("loss_pair")
        first, second = (None, None) if pair is None else (draws(loss, at.n_beta) for loss in apart(pair))
        return Sampled(
            (at.n_beta * chains.excess[0, healthy, kept].double()).cpu().numpy(),
            at.n_beta,
            self.settings.batch_size is not None,
            first_order=draws(first_order, at.n_beta),
            virial=draws(virial),
            blind=bool(blind[0].all()),
            trace=trace[0, healthy, :1].double().cpu().numpy(),
            watched=draws(chains.observed.get("example_losses")),
            pair=None if first is None or second is None else (first, second),
        )

    def _task_estimates(self, at: Resolution, chains: Chains, healthy: Tensor) -> dict[str, Estimate]:
        losses = chains.observed.get("task_losses")
        if losses is None or not bool(healthy.any()):
            return {}
        scaled = (at.n_beta * losses[0, healthy].double()).cpu().numpy()
        return {
            name: Estimate(float(scaled[..., task].mean()), error_of(np.ascontiguousarray(scaled[..., task])))
            for task, name in enumerate(self.tasks)
        }


def _estimates(sampled: Sampled) -> dict[str, Estimate]:
    found = {name: entry.item(sampled) for name, entry in ESTIMATORS.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _temperature(sampled: Sampled) -> float:
    if sampled.virial is None or stein_gap(sampled) is None:
        return math.nan
    return float(sampled.virial.mean() / np.mean(sampled.trace))


def _norm(values: Params) -> float:
    return math.sqrt(sum(value.double().square().sum().item() for value in values.values()))
