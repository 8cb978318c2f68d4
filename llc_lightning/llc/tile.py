"""One tile: the lanes that run as one batch, from their curvature to their records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.correction import displaced_minimum_correction, predicted_step_bias
from llc_lightning.llc.diagnostics import chain_statistics, locality_reasons, minimum_reasons, saturation_reasons
from llc_lightning.llc.local import Local, local_curvature
from llc_lightning.llc.parts import Resolution
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.runtime.status import is_failed, join
from llc_lightning.runtime.types import Batch, LossFn, Params
from llc_lightning.sampling.base import SAMPLERS, Posterior
from llc_lightning.sampling.centre import Centre
from llc_lightning.sampling.chains import Chains, run_chains
from llc_lightning.sampling.slices import Moved
from llc_lightning.sampling.stacked import StackedLoss
from llc_lightning.sampling.step_size import automatic_step_size, exploded


class Tile:
    """Lanes of one layout at a centre; asked for the records at one resolution after the other.

    Args:
        loss_fn: The loss per example.
        data: The examples.
        lanes: What each lane moves.
        whole: Whether a lane is the full model.
        centre: What is known at w*.
        settings: How to run the chains.
        seed: Keys all random streams.
        replicate: Number of the set of streams.
        trivial_loss: Loss of the trivial predictor, or None.
    """

    def __init__(
        self,
        loss_fn: LossFn,
        data: Batch,
        lanes: Sequence[Moved],
        whole: Sequence[bool],
        centre: Centre,
        settings: ChainSettings,
        *,
        seed: int,
        replicate: int,
        trivial_loss: float | None,
    ) -> None:
        self._data = data
        self._lanes = lanes
        self._whole = whole
        self._centre = centre
        self._settings = settings
        self._seed = seed
        self._replicate = replicate
        self._trivial_loss = trivial_loss
        self._stacked = StackedLoss(loss_fn, centre.params, lanes)
        self._dimension = self._stacked.layout.dimension
        self._model_norm = _norm({name: value for name, value in centre.params.items() if value.is_floating_point()})

    def records(self, at: Resolution) -> list[LLCRecord]:
        """Returns one record per lane."""
        if not bool(self._centre.losses.isfinite().all()):
            return [self._failed(lane, at) for lane in range(len(self._lanes))]
        step_size, chains = self._sample(at)
        correction = displaced_minimum_correction(self._local.from_gradient, n_beta=at.n_beta, gamma=at.gamma)[0]
        bias = self._bias(at, step_size)
        return [
            self._record(
                at, lane, chains.lane(lane), step_size[lane].item(), correction[lane].item(), bias[lane].item()
            )
            for lane in range(len(self._lanes))
        ]

    @cached_property
    def _local(self) -> Local:
        gradient = self._centre.gradient
        return local_curvature(self._stacked, self._lanes, gradient, self._data, self._settings, seed=self._seed)

    def _sample(self, at: Resolution) -> tuple[Float[Tensor, "lane"], Chains]:
        settings, stacked, losses = self._settings, self._stacked, self._centre.losses
        centre = stacked.start(1)
        like = next(iter(centre.values()))
        n_beta = torch.full((stacked.width,), at.n_beta, dtype=like.dtype, device=like.device)
        posterior = Posterior(centre, n_beta, torch.full_like(n_beta, at.gamma))
        preconditioner = self._local.preconditioner(at)
        sampler = SAMPLERS.get(settings.sampler).item
        numbers = range(self._replicate * settings.chains, (self._replicate + 1) * settings.chains)
        if settings.step_size == "auto":
            step_size = automatic_step_size(
                stacked, sampler, posterior, preconditioner, self._data, losses, self._local.batch,
                fraction=settings.step_fraction, seed=self._seed, chains=numbers, batch_size=settings.batch_size,
                spectrum=self._local.from_probe if preconditioner is None else None,
            )  # fmt: skip
        else:
            step_size = torch.full_like(n_beta, settings.step_size)
        return step_size, run_chains(
            stacked, sampler(posterior, step_size, preconditioner), self._data, losses,
            seed=self._seed, chains=numbers, steps=settings.burn_in + settings.draws, burn_in=settings.burn_in,
            batch_size=settings.batch_size,
        )  # fmt: skip

    def _bias(self, at: Resolution, step_size: Float[Tensor, "lane"]) -> Float[Tensor, "lane"]:
        """Returns the predicted bias of the step size, NaN where there is no formula."""
        if self._settings.sampler != "sgld" or self._settings.preconditioner != "none":
            return torch.full_like(step_size, math.nan)
        return predicted_step_bias(
            self._local.from_probe, n_beta=at.n_beta, gamma=at.gamma, step_size=step_size, dimension=self._dimension
        )

    def _record(
        self, at: Resolution, lane: int, chains: Chains, step_size: float, correction: float, bias: float
    ) -> LLCRecord:
        kept = at.n_beta * chains.excess[0, :, self._settings.burn_in :].double()
        failed = exploded(chains, torch.tensor([at.n_beta]), self._dimension)[0]
        statistics = chain_statistics(kept, failed, moved=bool(chains.distance2.ne(0).any()))
        healthy = chains.distance2[0, ~failed].double()
        distance = healthy.mean().sqrt().item() if len(healthy) else math.nan
        reasons = list(statistics.reasons)
        if not math.isnan(statistics.mean):
            reasons += locality_reasons(
                distance=distance,
                norm=self._model_norm,
                excess_loss=statistics.mean / at.n_beta,
                trivial_loss=self._trivial_loss if self._whole[lane] else None,
            )
            reasons += minimum_reasons(value=statistics.mean, correction=correction, stderr=statistics.stderr)
            if not self._whole[lane]:
                reasons += saturation_reasons(value=statistics.mean, dimension=self._dimension)
        status = join(reasons)
        failed_altogether = is_failed(status)
        return LLCRecord(
            value=math.nan if failed_altogether else statistics.mean,
            stderr=math.nan if failed_altogether else statistics.stderr,
            status=status, n_beta=at.n_beta, gamma=at.gamma, step_size=step_size, settings=self._settings,
            seed=self._seed, replicate=self._replicate, healthy_chains=statistics.healthy,
            per_chain=statistics.per_chain, rhat=statistics.rhat, ess=statistics.ess, ess_tail=statistics.ess_tail,
            mcse=statistics.mcse, dimension=self._dimension, correction=correction,
            curvature=self._local.from_probe.nodes[0, lane].abs().amax().item(), predicted_bias=bias,
            excess_loss=statistics.mean / at.n_beta, distance=distance,
            weight_norm=_norm(self._lanes[lane].read(self._centre.params)), model_norm=self._model_norm,
            gradient_norm=self._local.from_gradient.norm2[0, lane].sqrt().item(), loss=self._centre.loss,
            loss_stderr=self._centre.loss_stderr, n_examples=len(self._centre.losses),
            vmapped=self._stacked.vmapped, excess=chains.excess[0], baseline=chains.baseline,
        )  # fmt: skip

    def _failed(self, lane: int, at: Resolution) -> LLCRecord:
        """Returns the record of an estimate whose loss at w* is not finite."""
        nan = math.nan
        nothing = torch.empty(self._settings.chains, 0)
        return LLCRecord(
            value=nan, stderr=nan, status="nan-loss", n_beta=at.n_beta, gamma=at.gamma, step_size=nan,
            settings=self._settings, seed=self._seed, replicate=self._replicate, healthy_chains=0, per_chain=(),
            rhat=nan, ess=nan, ess_tail=nan, mcse=nan, dimension=self._dimension, correction=nan, curvature=nan,
            predicted_bias=nan, excess_loss=nan, distance=nan,
            weight_norm=_norm(self._lanes[lane].read(self._centre.params)), model_norm=self._model_norm,
            gradient_norm=nan, loss=nan, loss_stderr=nan, n_examples=len(self._centre.losses), vmapped=True,
            excess=nothing, baseline=nothing,
        )  # fmt: skip


def _norm(values: Params) -> float:
    return math.sqrt(sum(value.double().square().sum().item() for value in values.values()))
