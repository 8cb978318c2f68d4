"""What a measurement will cost, told before it is made: a few of its steps are made, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Protocol, runtime_checkable

import torch

from llc_lightning.components.component import Component
from llc_lightning.llc.estimator import estimate_parts, lane_batches
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.measure.cost import MINIBATCH, Clock, Forecast, duration
from llc_lightning.measure.measurements import Plan, at_rungs, components_at, measurement_of, undealt
from llc_lightning.measure.sharing import Piece, dealt
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.batches import Batch, LossFn, Params, n_examples, take
from llc_lightning.runtime.progress import Advance
from llc_lightning.runtime.workers import Workers
from llc_lightning.sampling.base import SAMPLERS
from llc_lightning.sampling.centre import centre_of
from llc_lightning.sampling.observables.base import recorded_every
from llc_lightning.sampling.slices import Layout, moved_entries

_BURN_IN, _DRAWS = 8, 12
"""Steps that are made: of fewer draws the dear observables would look at most, of 12 they look at every third."""


def forecast(
    plan: Plan, snapshot: Snapshot, components: Sequence[Component] | None = None, *, clock: Clock = time.perf_counter
) -> Forecast | None:
    """Returns what measuring will cost, after a few steps of it, or on a few of the examples; no row is made.

    Args:
        plan: What is to be measured.
        snapshot: Where; it is left as it is.
        components: Of what: a process's share; by default all that the plan measures there.
        clock: What tells the seconds: ``time.process_time`` for those of the processor.

    Returns:
        None for a kind of measurement that says nothing of its cost, or where there is nothing to measure.
    """
    keep_freed_memory(snapshot.size)  # as measuring does, which takes another time without
    chosen = components_at(plan, snapshot) if components is None else list(components)
    device = next(iter(snapshot.params.values())).device
    return measurement_of(plan).forecast(plan, snapshot, chosen, _synchronised(clock, device)) if chosen else None


def forecast_of_chains(
    loss: LossFn,
    snapshot: Snapshot,
    components: Sequence[Component],
    resolutions: Sequence[Resolution],
    settings: ChainSettings,
    clock: Clock,
    *,
    looks: int = 0,
    **more: Any,
) -> Forecast:
    """Returns what the chains of some components cost, after a few steps of those of one batch of lanes of each sort.

    Args:
        loss: What they sample.
        snapshot: Where.
        components: Whose weights move.
        resolutions: At each of which.
        settings: How they are run.
        clock: What tells the seconds.
        looks: How many draws of a chain are looked at; by default as many as the diagnostics look at.
        **more: Further arguments of ``estimate_parts``.
    """
    n, started = n_examples(snapshot.data), clock()
    moved = [component.moved(snapshot.params) for component in components]
    layouts = [moved_entries(snapshot.params, masks).layout for masks in moved]
    names = {form.parameter for layout in layouts for form in layout.forms}
    centre = centre_of(loss, snapshot.params, snapshot.data, names)
    once = clock() - started

    def chains(batch: Sequence[int], settings: ChainSettings) -> float:
        few, rungs = brief(settings.on(n), n), list(resolutions[:2])
        parts = [Restriction(moved[number]) for number in batch]
        estimates = timed(
            lambda done: estimate_parts(
                loss, snapshot.params, snapshot.data, parts, rungs, few, seed=snapshot.seed, centre=centre, done=done,
                **more,
            ),
            few, settings, clock, looks,
        )  # fmt: skip
        return sum(estimates) + (len(resolutions) - len(rungs)) * estimates[-1]

    alike: dict[object, list[list[int]]] = {}
    for batch in lane_batches(layouts):
        alike.setdefault((len(batch), components[batch[0]].kind, _shape(layouts[batch[0]])), []).append(batch)
    seconds: dict[str, float] = {}
    lighter = once
    full = settings.on(n).batch_size is None and not SAMPLERS.get(settings.sampler).facts.full_batch
    for batches in alike.values():
        some = batches[:: max(1, len(batches) - 1)]  # the first and the last: what lies behind them differs in depth
        each = fmean(chains(batch, settings) for batch in some)
        for batch in batches:
            seconds |= {components[number].address: each / len(batch) for number in batch}
        if full and n > MINIBATCH:
            lighter += len(batches) * chains(batches[0], replace(settings, batch_size=MINIBATCH))
    return Forecast(once, seconds, lighter if full and n > MINIBATCH else None)


def brief(settings: ChainSettings, n_examples: int) -> ChainSettings:
    """Returns the settings with a few steps, which cost what those of the whole cost."""
    return replace(
        settings,
        burn_in=min(settings.burn_in, _BURN_IN),
        draws=min(settings.draws, _DRAWS),
        curvature_examples=settings.curvature_size(n_examples),
    )


def timed(
    run: Callable[[Advance], object],
    few: ChainSettings,
    settings: ChainSettings,
    clock: Clock,
    looks: int = 0,
) -> list[float]:
    """Returns the seconds that estimates take, one after the other, from those of a few steps of each.

    Args:
        run: Makes them, and calls what it is given after every step.
        few: How they are run there.
        settings: How they are to be run.
        clock: What tells the seconds.
        looks: How many draws of a chain are looked at; by default as many as the diagnostics look at.
    """
    looks = looks or settings.draws // recorded_every(settings.draws)
    at: list[float] = []
    started = clock()

    def done(n: int = 1, note: str = "") -> None:
        at.append(clock())

    run(done)
    ended = clock()
    estimates = [at[first : first + few.steps] for first in range(0, len(at) - few.steps + 1, few.steps)]
    if not estimates:  # it failed, as the whole will
        return [ended - started]
    ends = [started, *(estimate[-1] for estimate in estimates[:-1]), ended]
    return [
        end - begun + _rest(steps, few, settings, looks)
        for (begun, end), steps in zip(pairwise(ends), estimates, strict=True)
    ]


def _rest(at: Sequence[float], few: ChainSettings, settings: ChainSettings, looks: int) -> float:
    """Returns the seconds of the steps that were not made, and of the looks at draws among them."""
    gaps = [after - before for before, after in pairwise(at)]
    looked = median(gaps[few.burn_in :] or [0.0])  # of a step with a look: of a third of them some are dearer
    plain = median(gaps[: max(few.burn_in - 1, 0)] or [looked])
    return (settings.steps - few.steps) * plain + max(looks - few.draws, 0) * max(looked - plain, 0.0)


def by_examples(run: Callable[[int], object], n: int, clock: Clock) -> float:
    """Returns the seconds that something takes on ``n`` examples, from those on an eighth and a quarter of them."""
    some = [max(1, n // 8), max(1, n // 4)]
    seconds: list[float] = []
    for few in some:
        started = clock()
        run(few)
        seconds.append(clock() - started)
    slope = max(seconds[1] - seconds[0], 0.0) / max(some[1] - some[0], 1)
    return seconds[1] + slope * (n - some[1])


def _shape(layout: Layout) -> object:
    return tuple((form.form, form.shape) for form in layout.forms)


def _synchronised(clock: Clock, device: torch.device) -> Clock:
    """Returns the clock, read when the device has done what it was told."""
    if device.type != "cuda":
        return clock

    def read() -> float:
        torch.cuda.synchronize(device)
        return clock()

    return read


_LONG = 5.0
"""Seconds that a measurement takes before it is worth a word which setting would spare them."""
_SPARED = 0.5
"""Share of them that minibatches must spare for that."""
_QUICK = 2.0
"""Seconds that forward and backward passes take by a rough guess, up to which nothing is said."""
_PROBED = 512
"""Examples of the pass that is timed for the guess."""
_FEW, _TELLING = 32, 0.02
"""Examples of a shorter pass, and the seconds of it that tell as much as those of more."""
_BACKWARD = 3
"""What a pass forward and back takes, in passes forward."""
_OF_A_STEP = 2.5
"""What a step of a chain takes with its share of pilot chains, looks and curvature, in passes forward and back."""
_TRACING = 2.5
"""Seconds that the first chains of a loss take besides, to trace it."""


@dataclass(frozen=True)
class Told:
    """What a callback says of the cost of a measurement."""

    forecast: Forecast
    examples: int

    def sentence(self, times: int | None) -> str:
        """Says what one measurement costs, and so many of them."""
        all_of_them = (
            f"; {times} {'is' if times == 1 else 'are'} due, about {duration(times * self.forecast.seconds)}"
            if times
            else ""
        )
        return f"one measurement takes about {duration(self.forecast.seconds)}{all_of_them}"

    @property
    def advice(self) -> str:
        """Says that full batches are needless, where minibatches spare most of the time; else ''."""
        seconds, lighter = self.forecast.seconds, self.forecast.with_minibatches
        if lighter is None or seconds < _LONG or lighter > (1 - _SPARED) * seconds:
            return ""
        return (
            f"every step takes all {self.examples:,} examples, about {duration(seconds)} a measurement; with "
            f"batch_size={MINIBATCH} it takes about {duration(lighter)}. Where rows then say 'batch-noise', give more."
        )


def cost_told(plan: Plan, snapshot: Snapshot, workers: Workers) -> Told | None:
    """Returns what there is to say of the cost of the largest share, None where it is short or cannot be told."""

    def work(pieces: Sequence[Piece]) -> int:
        return sum(at_rungs(plan, each).cost(at_rungs(plan, each).jobs(each.components, data="")) for each in pieces)

    try:
        of_all = undealt(plan, snapshot, components_at(plan, snapshot), workers)
        ranks = range(workers.world_size)
        pieces = max((dealt(of_all, Workers(rank, workers.world_size)) for rank in ranks), key=work)
        components = list({component.address: component for piece in pieces for component in piece.components}.values())
        if not _takes_long(plan, snapshot, components):
            return None
        found = forecast(plan, snapshot, components)
        whole = plan.cost(plan.jobs(components, data=""))
        found = found and found.times(work(pieces) / whole)
    except Exception:  # of whatever the module raises: the measurement itself will say it
        return None
    return None if found is None else Told(found, n_examples(snapshot.data))


@runtime_checkable
class RunsChains(Protocol):
    """A plan whose measurement runs chains."""

    @property
    def settings(self) -> ChainSettings:
        """How they are run."""
        ...


@runtime_checkable
class Records(Protocol):
    """A plan whose first measurement takes longer, since it records what later ones replay."""

    @property
    def recorded(self) -> tuple[float, int]:
        """Seconds, and passes over the examples, that it takes besides; (0, 0) where nothing is recorded."""
        ...


@runtime_checkable
class Guesses(Protocol):
    """A plan that tells what a component takes of it, from where in the network it is."""

    def guessed(self, components: Sequence[Component], params: Params, examples: int, seconds: float) -> float:
        """Returns the seconds of a component, the mean, where a pass over the examples takes ``seconds``."""
        ...


def _takes_long(plan: Plan, snapshot: Snapshot, components: Sequence[Component]) -> bool:
    """Says whether a measurement may take more than a few seconds, by a pass on some examples."""
    _, each, _ = rough(plan, snapshot)
    quick = _QUICK * (_OF_A_STEP if isinstance(plan, RunsChains) else 1.0)  # a guess that is no less than it takes
    return plan.cost(plan.jobs(components, data="")) * each > quick


def rough(plan: Plan, snapshot: Snapshot) -> tuple[float, float, float]:
    """Returns about what measuring costs, in seconds, by a pass on some examples.

    These are what every measurement takes whatever is measured, what a unit of its cost takes, and what the first
    measurement takes besides. Chains are taken to pass forward and back, each by itself, and before they begin once
    over all examples; their first measurement traces what later ones run.
    """
    n = n_examples(snapshot.data)
    fixed, passes = plan.recorded if isinstance(plan, Records) else (0.0, 0)
    if isinstance(plan, RunsChains):
        batch = min(plan.settings.batch_size or n, n)
        step = _BACKWARD * plan.settings.chains * batch * _of_an_example(snapshot, min(batch, _PROBED))
        return _BACKWARD * n * _of_an_example(snapshot, _PROBED), _OF_A_STEP * step, fixed + _TRACING
    examples = min(plan.examples or n, n)
    seconds = examples * _of_an_example(snapshot, _PROBED)
    return seconds, seconds, fixed + passes * seconds


def _of_an_example(snapshot: Snapshot, number: int) -> float:
    """Returns the seconds of a forward pass over so many examples, or fewer where that tells as well, by each."""
    device = next(iter(snapshot.params.values())).device
    # On the processor its own time, so that what else it does makes no measurement long.
    clock = time.process_time if device.type == "cpu" else _synchronised(time.perf_counter, device)

    def passed(some: Batch) -> float:
        started = clock()
        snapshot.loss(snapshot.params, some)
        return clock() - started

    with torch.no_grad():
        few, many = (take(snapshot.data, slice(0, most)) for most in (min(number, _FEW), number))
        passed(few)  # the first is another
        seconds = passed(few)
        if seconds < _TELLING and number > _FEW:
            few, seconds = many, passed(many)
    return seconds / n_examples(few)
