"""One tile: the lanes that run as one batch, from their curvature to their records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.assess import Assessor
from llc_lightning.llc.correction import displaced_minimum_correction, predicted_step_bias
from llc_lightning.llc.facts import Bias
from llc_lightning.llc.heating import Heat, Heating
from llc_lightning.llc.local import (
    Local,
    local_curvature,
    some_examples,
    spectrum_of_gradient,
    stack_lanes,
    which_examples,
)
from llc_lightning.llc.parts import Resolution
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.llc.tasks import Tasks
from llc_lightning.llc.virial import virial_weights
from llc_lightning.runtime.batches import take
from llc_lightning.runtime.types import Batch, LossFn
from llc_lightning.sampling.base import SAMPLERS, Posterior
from llc_lightning.sampling.centre import Centre
from llc_lightning.sampling.chains import Chains, run_chains
from llc_lightning.sampling.curvature import Spectrum
from llc_lightning.sampling.recorder import Recorder
from llc_lightning.sampling.slices import Moved
from llc_lightning.sampling.stacked import Graphs, Stack, StackedLoss
from llc_lightning.sampling.step_loss import StepLoss
from llc_lightning.sampling.step_size import automatic_step_size, curvature_at_the_end
from llc_lightning.sampling.streams import BatchStream

_NOISE = 0.1
"""Share of the largest eigenvalue up to which a negative one may be the noise of few examples."""
_FLAT = 1e-3
"""Share of the largest eigenvalue up to which a negative one may be rounding."""
_ENDS = 8


@dataclass(frozen=True)
class _Sampled:
    """What chains did, with which step size, and what the noise of minibatches adds to their values.

    ``stretch`` is the step size times the curvature where they end, NaN where that does not matter; like the step size
    it has the padding.
    """

    chains: Chains
    step_size: Float[Tensor, "width"]
    stretch: Float[Tensor, "width"]
    heat: Heat


class Tile:
    """Lanes of one layout at a centre; asked for the records at one resolution after the other.

    Args:
        loss_fn: The loss per example.
        data: The examples.
        lanes: What each lane moves.
        whole: Whether a lane is the full model, for which the trivial predictor's loss bounds what local can mean.
        centre: What is known at w*.
        settings: How to run the chains.
        seed: Keys all random streams.
        replicate: Number of the set of streams.
        trivial_loss: Loss of the trivial predictor, or None.
        tasks: Losses to record beside the one that is sampled.
        graphs: Shared by the tiles of one loss.
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
        tasks: Tasks | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        self._data = data
        self._lanes = lanes
        self._whole = whole
        self._centre = centre
        self._settings = settings
        self._seed = seed
        self._replicate = replicate
        self._trivial_loss = trivial_loss
        self._stacked = StackedLoss(loss_fn, centre.params, lanes, graphs=graphs)
        self._tasks = tasks
        self._task_baseline = None if tasks is None else tasks.baseline(centre.params, data, list(lanes))

    def records(self, at: Resolution) -> list[LLCRecord]:
        """Returns one record per lane."""
        if not bool(self._centre.losses.isfinite().all()):
            return [self._assessor(lane).failed(at) for lane in range(len(self._lanes))]
        sampled = self._sample(at)
        correction = self._correction(at)
        bias = self._bias(at, sampled.step_size)
        distance2 = self._local.expected_distance2(at, self._stacked.layout.dimension)
        return [
            self._assessor(lane).record(
                at,
                sampled.chains.lane(lane),
                bias=Bias(
                    correction=correction[lane].item(),
                    predicted_bias=bias[lane].item(),
                    noise_bias=_told(sampled.heat.bias[lane]),
                    noise_bias_stderr=_told(sampled.heat.error[lane]),
                ),
                curvature=self._local.from_probe.nodes[0, lane].abs().amax().item(),
                expected_distance=distance2[lane].clamp(min=0).sqrt().item(),
                step_size=sampled.step_size[lane].item(),
                step_times_curvature=sampled.stretch[lane].item(),
                vmapped=self._stacked.vmapped,
            )
            for lane in range(len(self._lanes))
        ]

    def _assessor(self, lane: int) -> Assessor:
        return Assessor(
            self._centre,
            self._lanes[lane],
            self._settings,
            seed=self._seed,
            replicate=self._replicate,
            whole=self._whole[lane],
            trivial_loss=self._trivial_loss,
            tasks=self._tasks.names if self._tasks else (),
        )

    def _correction(self, at: Resolution) -> Float[Tensor, "lane"]:
        """Returns Delta; where the Hessian is slightly indefinite, as by the noise of few examples, taken on more."""
        spectrum, around = self._local.from_gradient, self._local.from_probe
        correction = displaced_minimum_correction(spectrum, n_beta=at.n_beta, gamma=at.gamma)[0]
        # Where there is no gradient, as at a symmetric saddle, only another vector can see that the loss falls.
        falls = around.smallest[0] + at.gamma / at.n_beta < -_FLAT * around.largest[0].abs()
        correction = correction.masked_fill((spectrum.norm2[0] == 0) & falls, math.nan)
        doubtful = correction.isnan() & (spectrum.smallest[0] > -_NOISE * spectrum.largest[0])
        if self._settings.curvature_examples != "auto" or not doubtful.any():
            return correction
        thorough = displaced_minimum_correction(self._from_gradient, n_beta=at.n_beta, gamma=at.gamma)[0]
        return thorough.where(doubtful, correction)

    @cached_property
    def _from_gradient(self) -> Spectrum:
        size = self._settings.curvature_size(len(self._centre.losses), thorough=True)
        batch = some_examples(self._data, size, self._seed)
        return spectrum_of_gradient(self._stacked, self._lanes, self._centre.gradient, batch)

    @cached_property
    def _local(self) -> Local:
        gradient = self._centre.gradient
        return local_curvature(self._stacked, self._lanes, gradient, self._data, self._settings, seed=self._seed)

    def _sample(self, at: Resolution) -> _Sampled:
        """Runs the chains."""
        settings, stacked, losses = self._settings, self._stacked, self._centre.losses
        centre = stacked.start(1)
        like = next(iter(centre.values()))
        n_beta = torch.full((stacked.width,), at.n_beta, dtype=like.dtype, device=like.device)
        gradient = stack_lanes([lane.read(self._centre.gradient) for lane in self._lanes], stacked.width)
        posterior = Posterior(centre, n_beta, torch.full_like(n_beta, at.gamma), gradient)
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
        mover, others = sampler(posterior, step_size, preconditioner), self._others(numbers)
        recorder = Recorder(
            stacked, posterior, draws=settings.draws,
            weights=lambda position: virial_weights(stacked, position, self._local.batch, at, seed=self._seed),
            others=others, tasks=self._task_baseline, examples=self._watched(),
        )  # fmt: skip
        chains = run_chains(
            stacked, mover, self._data, losses,
            seed=self._seed, chains=numbers, steps=settings.steps, burn_in=settings.burn_in,
            batch_size=settings.batch_size, box=settings.box, recorder=recorder,
            first_order=gradient if settings.estimator == "first_order" or settings.sampler == "sgld_cv" else None,
        )  # fmt: skip
        stretch = torch.full_like(step_size, math.nan)
        # An automatic step is far below the limit by itself.
        if settings.step_size != "auto" and SAMPLERS.get(settings.sampler).facts.limited:
            stretch = step_size * curvature_at_the_end(
                stacked, posterior, preconditioner, _highest_ends(chains), self._local.batch, seed=self._seed
            ).to(step_size.dtype)
        heat = Heat(*(torch.zeros(stacked.lanes) for _ in range(2)))
        if others is not None:
            heating = Heating(stacked, mover, posterior, preconditioner, self._local.batch, others)
            means = chains.excess[..., settings.burn_in :].double().mean(2)
            heat = heating.bias(chains, at.n_beta * means.nanmedian(1).values)  # dead chains do not count
        return _Sampled(chains, step_size, stretch, heat)

    def _others(self, numbers: Sequence[int]) -> Callable[[], StepLoss] | None:
        """Returns the loss on minibatches that no chain is moved by; None with the full batch."""
        losses, size = self._centre.losses, self._settings.batch_size
        if size is None:
            return None
        batches = BatchStream(self._seed, numbers, len(losses), size, kind="check-batch")
        return lambda: StepLoss(self._stacked, self._data, losses, batches.draw().to(losses.device))

    def _watched(self) -> tuple[Batch, Float[Tensor, "example"]] | None:
        """Returns the examples whose losses are recorded one by one."""
        size = self._settings.watched_examples
        if not size:
            return None
        some = which_examples(len(self._centre.losses), size, self._seed)
        return take(self._data, some), self._centre.losses[some]

    def _bias(self, at: Resolution, step_size: Float[Tensor, "lane"]) -> Float[Tensor, "lane"]:
        """Returns the predicted bias of the step size, NaN where there is no formula."""
        if not SAMPLERS.get(self._settings.sampler).facts.bias_known or self._settings.preconditioner != "none":
            return torch.full_like(step_size, math.nan)
        return predicted_step_bias(
            self._local.from_probe,
            n_beta=at.n_beta,
            gamma=at.gamma,
            step_size=step_size,
            dimension=self._stacked.layout.dimension,
        )


def _told(number: Tensor) -> float:
    """Returns the leading digits: the last bits of a sum can depend on the lanes beside it, a result must not."""
    return float(f"{number.item():.4g}")


def _highest_ends(chains: Chains) -> Stack:
    """Returns where the chains of highest loss end, up to 8 of each lane: where an unstable step shows."""
    highest = chains.excess[..., -1].argsort(1, descending=True)[:, :_ENDS].T
    lane = torch.arange(next(iter(chains.end.values())).shape[1])
    chain = highest[:, lane.clamp(max=highest.shape[1] - 1)]
    return {name: value[chain.to(value.device), lane.to(value.device)] for name, value in chains.end.items()}
