"""The lanes that run as one batch, from their curvature to their records."""

import itertools
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.llc.assess import Assessor
from llc_lightning.llc.batch_noise import NoiseBias, NoisePrediction
from llc_lightning.llc.correction import displaced_minimum_correction
from llc_lightning.llc.diagnostics.base import diagnostics
from llc_lightning.llc.estimators import Estimate
from llc_lightning.llc.facts import Bias
from llc_lightning.llc.local import (
    Local,
    along_gradient,
    displacement,
    local_curvature,
    some_examples,
    stack_lanes,
    which_examples,
)
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.llc.settling import Settling, around_centre, places_of, settling
from llc_lightning.llc.tasks import Tasks
from llc_lightning.llc.virial import virial_weights
from llc_lightning.runtime.batches import Batch, LossFn, Params, take
from llc_lightning.runtime.progress import silent
from llc_lightning.sampling.base import SAMPLERS, Posterior, StepLoss
from llc_lightning.sampling.centre import Centre
from llc_lightning.sampling.chains import Chains, run_chains
from llc_lightning.sampling.curvature import Krylov, Spectrum
from llc_lightning.sampling.observables.base import Observable, asked_for, recorded_every
from llc_lightning.sampling.observables.distance import SquaredDistance
from llc_lightning.sampling.observables.example_losses import ExampleLosses
from llc_lightning.sampling.observables.loss_pair import LossPair
from llc_lightning.sampling.observables.virial import Virial, seeing
from llc_lightning.sampling.recorder import Recorder
from llc_lightning.sampling.slices import Moved
from llc_lightning.sampling.stacked import Graphs, Stack, StackedLoss
from llc_lightning.sampling.step_size import (
    EXPLOSION,
    IMPROBABLE,
    Stiffness,
    automatic_step_size,
    exploded,
    on_grid,
)
from llc_lightning.sampling.streams import BatchStream

_NOISE = 0.1
"""Share of the largest eigenvalue up to which a negative one may be the noise of few examples."""
_FLAT = 1e-3
"""Share of the largest eigenvalue up to which a negative one may be rounding."""
_ENDS = 8
_TRIALS = 8
_STIFFEST, _TYPICAL = 2.0, 6.0
"""How much stiffer than what the step is made for the stiffest of several chains may be when burn-in ends; of chains
that minibatches move, their mean, up to about the limit of stability."""
_NOISE_SHARE, _NOISE_BATCH = 50, 6
"""What the examples that batch noise is told by may cost: one in so many of those that the chains took, of larger
batches of so many of each, since the gradient of an example goes over all weights, as a step does."""
_LOOKUP_SHARE = 4
"""The same of those whose losses alone are taken, a third of the work of a gradient."""


@dataclass(frozen=True)
class _Run:
    """What chains did, with which step size, and what the noise of minibatches adds to their values.

    ``step_times_curvature`` is that of where they end, NaN where it does not matter; like the step size it has the
    padding.
    """

    chains: Chains
    step_size: Float[Tensor, "width"]
    step_times_curvature: Float[Tensor, "width"]
    noise_bias: NoiseBias
    settling: Settling


class LaneBatch:
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
        observe: What to record for the caller, beside what the diagnostics need.
        graphs: Shared by the batches of one loss.
        start: Where the chains start; w* by default.
        done: Called with the number of lanes when their chains have made one more step, and with the rest at the end.
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
        observe: Sequence[Observable] = (),
        graphs: Graphs | None = None,
        start: Params | None = None,
        done: Callable[[int], object] | None = None,
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
        self._observe = observe
        self._start = start
        self._steps = _Steps(len(lanes), settings.steps, done)
        self._every = recorded_every(settings.draws)
        self._tasks = tasks
        self._task_losses = (
            None if tasks is None else tasks.observable(centre.params, data, list(lanes), every=self._every)
        )

    def records(self, at: Resolution) -> list[LLCRecord]:
        """Returns one record per lane."""
        with self._steps.told():
            finite = math.isfinite(self._centre.losses.abs().amax())
            run = self._run(at) if finite else None
        if run is None:
            return [assessor.failed(at) for assessor in self._assessors]
        correction = self._correction(at)
        bias, left = self._bias(run), self._left
        unsettled = self._unsettled(at, run)
        cold = run.settling.cold(left, run.step_size)
        distance2 = self._local.expected_distance2(at, self._stacked.layout.dimension)
        return [
            assessor.record(
                at,
                run.chains.lane(lane),
                bias=Bias(
                    correction=correction[lane].item(),
                    predicted_bias=bias[lane].item(),
                    unsettled=unsettled[lane].item(),
                    noise_bias=_told(run.noise_bias.value[lane]),
                    noise_bias_stderr=_told(run.noise_bias.stderr[lane]),
                ),
                cold=_over_chains(cold[:, lane]),
                curvature=self._local.from_probe.nodes[0, lane].abs().amax().item(),
                expected_distance=distance2[lane].clamp(min=0).sqrt().item(),
                step_size=run.step_size[lane].item(),
                step_times_curvature=run.step_times_curvature[lane].item(),
                vmapped=self._stacked.vmapped,
                elsewhere=self._start is not None,
            )
            for lane, assessor in enumerate(self._assessors)
        ]

    @cached_property
    def _assessors(self) -> list[Assessor]:
        """One for each lane."""
        return [
            Assessor(
                self._centre,
                lane,
                self._settings,
                seed=self._seed,
                replicate=self._replicate,
                whole=whole,
                trivial_loss=self._trivial_loss,
                tasks=self._tasks.names if self._tasks else (),
                observe=tuple(observable.name for observable in self._observe),
            )
            for lane, whole in zip(self._lanes, self._whole, strict=True)
        ]

    def _correction(self, at: Resolution) -> Float[Tensor, "lane"]:
        """Returns Delta; where the Hessian is slightly indefinite, as by the noise of few examples, taken on more."""
        around, dimension = self._local.from_probe, self._stacked.layout.dimension
        spectrum = displacement(self._from_gradient, around, at, dimension)
        correction = displaced_minimum_correction(spectrum, n_beta=at.n_beta, gamma=at.gamma)[0]
        # Where there is no gradient, as at a symmetric saddle, only another vector can see that the loss falls.
        falls = around.smallest[0] + at.gamma / at.n_beta < -_FLAT * around.largest[0].abs()
        correction = correction.masked_fill((spectrum.norm2[0] == 0) & falls, math.nan)
        doubtful = correction.isnan() & (spectrum.norm2[0] > 0) & (spectrum.smallest[0] > -_NOISE * spectrum.largest[0])
        if self._settings.curvature_examples != "auto" or not doubtful.any():
            return correction
        from_more = displacement(self._from_more, around, at, dimension)
        thorough = displaced_minimum_correction(from_more, n_beta=at.n_beta, gamma=at.gamma)[0]
        return thorough.where(doubtful, correction)

    @cached_property
    def _from_gradient(self) -> Spectrum | Krylov:
        """The quadrature of the Hessian from the gradient; first asked for when the chains have made room for it."""
        return self._along_gradient(thorough=False)

    @cached_property
    def _from_more(self) -> Spectrum | Krylov:
        return self._along_gradient(thorough=True)

    def _along_gradient(self, *, thorough: bool) -> Spectrum | Krylov:
        size = self._settings.curvature_size(len(self._centre.losses), thorough=thorough)
        batch = some_examples(self._data, size, self._seed)
        return along_gradient(self._stacked, self._lanes, self._centre.gradient, batch)

    @cached_property
    def _local(self) -> Local:
        return local_curvature(self._stacked, self._data, self._settings, seed=self._seed)

    def _run(self, at: Resolution) -> _Run:
        """Runs the chains, with an automatic step again and smaller where it turned out to be too large."""
        settings, posterior, preconditioner = self._settings, self._posterior(at), self._local.preconditioner(at)
        step_size = self._step_size(posterior, preconditioner)
        automatic = settings.step_size == "auto"
        for _ in range(_TRIALS if automatic else 0):
            try:
                run = self._chains(at, posterior, preconditioner, step_size, strict=True)
            except _TooStiffError as error:
                step_size = torch.where(error.lanes, on_grid(error.allowed), step_size)
                continue
            lost = self._lost(run.chains, posterior)
            if not bool(lost.any()):
                return run
            del run
            step_size = torch.where(lost, step_size / 2, step_size)
        return self._chains(at, posterior, preconditioner, step_size, strict=False)

    def _lost(self, chains: Chains, posterior: Posterior) -> Bool[Tensor, "width"]:
        """Returns of which lanes a chain died, exploded, or was where none is in equilibrium."""
        lost = torch.zeros_like(posterior.n_beta, dtype=torch.bool)
        lanes, limit = self._stacked.lanes, IMPROBABLE if self._settings.batch_size is None else EXPLOSION
        far = exploded(chains, posterior.n_beta[:lanes].cpu(), self._stacked.layout.dimension, limit=limit)
        lost[:lanes] = far.any(1).to(lost.device)
        return lost

    def _chains(
        self, at: Resolution, posterior: Posterior, preconditioner: Stack | None, step_size: Tensor, *, strict: bool
    ) -> _Run:
        """Runs the chains with a step size.

        Raises:
            _TooStiffError: If it is too large where they are when burn-in ends, and ``strict``.
        """
        settings, stacked, losses = self._settings, self._stacked, self._centre.losses
        facts, second = SAMPLERS.get(settings.sampler).facts, self._second()
        sampler = SAMPLERS.get(settings.sampler).item(posterior, step_size, preconditioner)
        found: list[Settling] = []

        def virial(position: Stack) -> Stack:
            metric = sampler.metric or preconditioner
            diagonals, stiffness = places_of(stacked, posterior, metric, self._local.batch, position, seed=self._seed)
            weights = virial_weights(diagonals, settings.chains, at)
            diagonals.clear()
            found.append(settling(stiffness, seeing(weights)[0]))
            # Minibatches make a chain's curvature fluctuate: a step is too large where it is so at most places.
            stiff = found[0].largest / _STIFFEST if settings.batch_size is None else found[0].typical / _TYPICAL
            allowed = settings.fraction / stiff
            allowed = allowed.where(allowed > 0, step_size.to(allowed.dtype) / 2)  # NaN where a chain is dead
            failed = ~(step_size <= allowed)
            failed[stacked.lanes :] = False
            if strict and bool(failed.any()):
                raise _TooStiffError(failed, allowed.to(step_size.dtype))
            return weights

        recorder = Recorder([*self._diagnosed(virial), *self._observe], posterior, lanes=stacked.lanes, second=second)
        linear = settings.estimator == "first_order" or facts.needs_centre_gradient
        chains = run_chains(
            stacked, sampler, self._data, losses,
            seed=self._seed, chains=self._numbers, steps=settings.steps, burn_in=settings.burn_in,
            batch_size=settings.batch_size, box=settings.box, recorder=recorder,
            start=self._places(), first_order=posterior.gradient if linear else None, done=self._steps.counted(),
        )  # fmt: skip
        del recorder  # with the weights of the virial
        step_times_curvature = torch.full_like(step_size, math.nan)
        # An automatic step is far below the limit by itself.
        if settings.step_size != "auto" and facts.limited:
            stiffness = Stiffness(stacked, posterior, preconditioner)
            end = stiffness.largest(_highest_ends(chains), self._local.batch, seed=self._seed)
            step_times_curvature = step_size * torch.maximum(end.amax(0), found[0].largest).to(step_size.dtype)
        noise_bias = NoiseBias(*(torch.zeros(stacked.lanes) for _ in range(2)))
        if second is not None:  # two more of the diagnostics' minibatches, as at the first draw
            further = partial(second, 0)
            size = settings.batch_size or 1
            steps = settings.chains * settings.steps
            examples, lookups = steps * min(size, _NOISE_BATCH) // _NOISE_SHARE, steps * size // _LOOKUP_SHARE
            prediction = NoisePrediction(
                stacked, sampler, posterior, preconditioner, self._local.batch, self._data, self._centre, size,
                examples, lookups, further, self._seed, step_size, found[0].largest,
            )  # fmt: skip
            finite = chains.excess.isfinite().all(-1).all(0)
            alive = [chain for chain in range(settings.chains) if bool(finite[chain])]
            means = chains.excess[..., settings.burn_in :].double().mean(2)
            value = at.n_beta * means.nanmedian(1).values  # dead chains do not count
            noise_bias = prediction.bias(chains.end, alive or range(settings.chains), value)
        return _Run(chains, step_size, step_times_curvature, noise_bias, found[0])

    def _left(self, stiffness: Tensor) -> Tensor:
        """Returns how much of its variance a direction lacks over the draws, by step size times stiffness.

        Beyond the limit of stability it lacks nothing: what steps do there is heat.
        """
        settings = self._settings
        shrunk = SAMPLERS.get(settings.sampler).item.contraction(stiffness).double().square()
        shrunk = shrunk.where(~(shrunk > 1), 0.0)
        all_draws = (1 - shrunk**settings.draws) / (settings.draws * (1 - shrunk))
        return shrunk**settings.burn_in * torch.where(shrunk < 1, all_draws, 1.0)

    @property
    def _numbers(self) -> range:
        """The numbers of the chains."""
        chains = self._settings.chains
        return range(self._replicate * chains, (self._replicate + 1) * chains)

    def _step_size(self, posterior: Posterior, preconditioner: Stack | None) -> Float[Tensor, "width"]:
        settings = self._settings
        if settings.step_size != "auto":
            return torch.full_like(posterior.n_beta, settings.step_size)
        return automatic_step_size(
            self._stacked, SAMPLERS.get(settings.sampler).item, posterior, preconditioner, self._data,
            self._centre.losses, self._local.batch,
            fraction=settings.fraction, seed=self._seed, chains=self._numbers, batch_size=settings.batch_size,
            spectrum=self._local.from_probe if preconditioner is None else None, start=self._places(),
        )  # fmt: skip

    def _places(self) -> Stack | None:
        """Returns where the chains start; None for w*."""
        return None if self._start is None else self._stacked.start(self._settings.chains, self._start)

    def _posterior(self, at: Resolution) -> Posterior:
        centre, width = self._stacked.centre, self._stacked.width
        like = next(iter(centre.values()))
        n_beta = torch.full((width,), at.n_beta, dtype=like.dtype, device=like.device)
        gradient = stack_lanes([lane.read(self._centre.gradient) for lane in self._lanes], width)
        return Posterior(centre, n_beta, torch.full_like(n_beta, at.gamma), gradient)

    def _diagnosed(self, virial: Callable[[Stack], Stack]) -> list[Observable]:
        """Returns what is recorded for the estimators and the diagnostics."""
        settings, every = self._settings, self._every
        asked = (name for entry in diagnostics().values() for name in entry.facts.observes)
        found = [
            *asked_for(tuple(asked), settings.draws),
            SquaredDistance(every),
            Virial(every, virial),
            Virial(every, _ones, name="plain_virial"),
        ]
        if settings.batch_size is not None:
            found.append(LossPair(every))
        if self._task_losses is not None:
            found.append(self._task_losses)
        if settings.watched_examples:
            losses = self._centre.losses
            some = which_examples(len(losses), settings.watched_examples, self._seed)
            found.append(ExampleLosses(every, take(self._data, some), losses[some]))
        return found

    def _second(self) -> Callable[[int], StepLoss] | None:
        """Returns the loss on minibatches that no chain is moved by, for the look at a draw; None with the full batch.

        Draws that the diagnostics do not look at have a stream of their own, so that whatever a caller observes, the
        diagnostics see the same minibatches.
        """
        losses, size = self._centre.losses, self._settings.batch_size
        if size is None:
            return None
        diagnosed, others = (
            BatchStream(self._seed, self._numbers, len(losses), size, kind=kind)
            for kind in ("check-batch", "look-batch")
        )

        def second(draw: int) -> StepLoss:
            stream = others if draw % self._every else diagnosed
            return StepLoss(self._stacked, self._data, losses, stream.draw().to(losses.device))

        return second

    def _unsettled(self, at: Resolution, run: _Run) -> Float[Tensor, "lane"]:
        """Returns the share of the value that has not settled: the larger of what w* and the ends of burn-in tell.

        Of chains that start elsewhere than at w* only the ends.
        """
        at_the_ends = run.settling.unsettled(self._left, run.step_size)
        if (
            self._start is not None
            or self._settings.preconditioner != "none"
            or SAMPLERS.get(self._settings.sampler).facts.adapts
        ):
            return at_the_ends
        centre = around_centre(self._local.from_probe, self._posterior(at), self._stacked.layout.dimension)
        return torch.maximum(at_the_ends, centre.unsettled(self._left, run.step_size))

    def _bias(self, run: _Run) -> Float[Tensor, "lane"]:
        """Returns the predicted bias of the step size, NaN where there is no formula."""
        if not SAMPLERS.get(self._settings.sampler).facts.bias_known:
            return torch.full_like(run.step_size, math.nan)
        return run.settling.heated(run.step_size)


class _Steps:
    """Tells of the steps of chains, each once however often the chains begin again."""

    def __init__(self, lanes: int, steps: int, done: Callable[[int], object] | None) -> None:
        self._lanes, self._steps = lanes, steps
        self._done = done or silent
        self._told = 0

    @contextmanager
    def told(self) -> Generator[None]:
        """Tells of all steps, of those at the end that were not made."""
        self._told = 0
        yield
        if self._told < self._steps:
            self._done(self._lanes * (self._steps - self._told))

    def counted(self) -> Callable[[int], None]:
        """Returns what the chains call after each of their steps, which begin from the first."""
        made = itertools.count(1)

        def one(_: int) -> None:
            if next(made) > self._told:
                self._told += 1
                self._done(self._lanes)

        return one


class _TooStiffError(Exception):
    """A step that is too large for some lanes, and what is allowed."""

    def __init__(self, lanes: Bool[Tensor, "width"], allowed: Float[Tensor, "width"]) -> None:
        super().__init__()
        self.lanes = lanes
        self.allowed = allowed


def _ones(position: Stack) -> Stack:
    return {name: value.new_ones(()).expand_as(value) for name, value in position.items()}


def _over_chains(values: Float[Tensor, "chain"]) -> Estimate:
    """Returns the mean of the chains that are alive, and its standard error; 0 for one."""
    known = values[values.isfinite()].double()
    spread = known.std().item() / math.sqrt(len(known)) if len(known) > 1 else 0.0
    return Estimate(known.mean().item(), spread)


def _told(number: Tensor) -> float:
    """Returns the leading digits: the last bits of a sum can depend on the lanes beside it, a result must not."""
    return float(f"{number.item():.4g}")


def _highest_ends(chains: Chains) -> Stack:
    """Returns where the chains of highest loss end, up to 8 of each lane: where an unstable step shows."""
    highest = chains.excess[..., -1].argsort(1, descending=True)[:, :_ENDS].T
    lane = torch.arange(next(iter(chains.end.values())).shape[1])
    chain = highest[:, lane.clamp(max=highest.shape[1] - 1)]
    return {name: value[chain.to(value.device), lane.to(value.device)] for name, value in chains.end.items()}
