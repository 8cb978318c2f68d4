"""How posterior structure is measured, and becomes rows of the table and arrays beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.components.component import Component
from llc_lightning.llc.covariance import Array, Jackknifed
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.facts import ChainLosses
from llc_lightning.llc.local import which_examples
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import Restriction
from llc_lightning.measure.cost import Clock, Forecast
from llc_lightning.measure.forecast import forecast_of_chains
from llc_lightning.measure.jobs import Job
from llc_lightning.measure.llc.plan import least
from llc_lightning.measure.measurements import MEASUREMENTS, TRAIN, Measurement
from llc_lightning.measure.posterior.effects import ABLATED, PosteriorEffect, effects_under, models_without
from llc_lightning.measure.posterior.plan import PosteriorPlan
from llc_lightning.measure.posterior.structure import OBSERVED, Structure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.runtime.batches import Params, chunks, n_examples, take
from llc_lightning.runtime.progress import Advance
from llc_lightning.sampling.observables.base import Observable
from llc_lightning.sampling.observables.example_losses import ExampleLosses
from llc_lightning.sampling.observables.of_weights import OfWeights

if TYPE_CHECKING:
    import xarray as xr

_TOGETHER = 32


@dataclass(frozen=True)
class Sampled:
    """What the chains of one component know, and those of the whole model."""

    component: Component
    record: LLCRecord
    """Without draws."""
    structure: Structure | None
    """None where its chains failed."""
    whole: Structure | None
    of_whole: LLCRecord
    """The whole model's, without draws."""
    watched: tuple[int, ...]
    """The numbers of the watched examples."""
    losses: Float[Tensor, "example"]
    """Theirs at the weights."""
    tasks: Bool[Tensor, "example task"] | None
    """Which of them count for which task; None for a module without tasks."""
    effects: Mapping[str, PosteriorEffect] = field(default_factory=dict[str, PosteriorEffect])
    """What ablating it does along the whole model's chains, by method."""
    draws: Float[Tensor, "chain look example"] | None = None
    """What the losses are in excess along its chains, where that is kept."""


class PosteriorMeasurement(Measurement[PosteriorPlan]):
    """Moments of losses over the draws of components' chains and of the whole model's."""

    def measure(
        self,
        plan: PosteriorPlan,
        snapshot: Snapshot,
        components: list[Component],
        *,
        replicate: int,
        advance: Advance,
        memory: Any,
    ) -> list[Sampled]:
        """Returns what some components' chains know; every process runs those of the whole model itself."""
        if not components:
            return []
        loss, params, data = snapshot.loss, snapshot.params, snapshot.data
        n = n_examples(data)
        watched = which_examples(n, min(plan.watched, n), snapshot.seed).sort().values
        examples = take(data, watched)
        with torch.no_grad():
            at_centre = loss(params, examples)
        seen = ExampleLosses(plan.look_every, examples, at_centre, name=OBSERVED)
        tasks = loss.per_task(params, examples)[1].cpu() if loss.task_names else None

        methods = plan.named_methods
        ablated = [at for at, component in enumerate(components) if component.point and methods]
        models = models_without(snapshot, [components[at] for at in ablated], list(methods.values()), watched)

        def sampled(parts: list[Restriction], *more: Observable) -> list[LLCRecord]:
            records = estimate_parts(
                loss, params, data, parts, [plan.resolution], plan.settings, seed=snapshot.seed, replicate=replicate,
                observe=[seen, *more], trivial_loss=snapshot.trivial_loss, done=lambda n: advance(n),
            )  # fmt: skip
            return [each[0] for each in records]

        under = [OfWeights(plan.look_every, models, params, name=ABLATED)] if ablated else []
        (whole,) = sampled([Restriction(None)], *under)
        known = Structure.of(whole, kernel=True)
        told = iter(effects_under(whole, models.losses(params) - at_centre, at_centre) if ablated else [])
        effects = {at: {name: next(told) for name in methods} for at in ablated}
        moved = [component.moved(params) for component in components]
        parts = [at for at, masks in enumerate(moved) if not _is_everything(masks, params)]
        done: dict[int, tuple[LLCRecord, Structure | None, Tensor | None]] = {}
        for some in chunks(max(len(parts), 1), _TOGETHER):  # the draws of a few lanes are in memory at a time
            restricted = [Restriction(moved[at]) for at in parts[some]]
            for at, record in zip(parts[some], sampled(restricted) if restricted else [], strict=True):
                done[at] = _light(record), Structure.of(record, kernel=plan.kernels), _raw(plan, record)
        numbers, light = tuple(int(one) for one in watched), _light(whole)
        every = light, known, _raw(plan, whole)
        sampled_by_part = [done.get(at, every) for at in range(len(components))]
        return [
            Sampled(
                component, record, structure, known, light, numbers, at_centre.cpu(), tasks, effects.get(at, {}), raw
            )
            for at, (component, (record, structure, raw)) in enumerate(zip(components, sampled_by_part, strict=True))
        ]

    def forecast(
        self, plan: PosteriorPlan, snapshot: Snapshot, components: Sequence[Component], clock: Clock
    ) -> Forecast | None:
        """Returns what the chains cost, looked at as often as the watched examples are; None under ablations."""
        if plan.named_methods:  # whose models are looked at too, along the chains of the whole
            return None
        n = n_examples(snapshot.data)
        watched = which_examples(n, min(plan.watched, n), snapshot.seed).sort().values
        examples = take(snapshot.data, watched)
        with torch.no_grad():
            at_centre = snapshot.loss(snapshot.params, examples)
        seen = ExampleLosses(1, examples, at_centre, name=OBSERVED)
        return forecast_of_chains(
            snapshot.loss, snapshot, components, [plan.resolution], plan.settings, clock,
            looks=plan.settings.draws // plan.look_every, observe=[seen],
        )  # fmt: skip

    def small(self, plan: PosteriorPlan) -> PosteriorPlan:
        """Returns two chains of a few draws, which watch two examples."""
        return replace(plan, settings=least(plan.settings, chains=2, draws=4), watched=2, look_every=1, kernels=False)

    def rows(
        self,
        plan: PosteriorPlan,
        snapshot: Snapshot,
        measured: Sequence[Sampled],
        once: Any,
        *,
        data: str,
        replicate: int,
    ) -> Iterator[Row]:
        """Yields the rows of every component, the whole model first: its variance, and each task."""
        for each in measured:
            job, *ablations = plan.jobs([each.component], data=data, replicate=replicate)
            yield from _rows(plan, snapshot, _told(plan, snapshot, job, each.record, replicate), each)
            for job in ablations:
                same, effect = _told(plan, snapshot, job, each.of_whole, replicate), each.effects[job.method]
                same["n_examples"] = len(each.watched)
                yield Row(**same, quantity="posterior_effect", loss=TRAIN, value=effect.value, stderr=effect.stderr)
                yield Row(
                    **same,
                    quantity="ablated_covariance",
                    loss=TRAIN,
                    value=effect.covariance,
                    stderr=effect.covariance_stderr,
                )

    def arrays(self, plan: PosteriorPlan, snapshot: Snapshot, measured: Sequence[Sampled]) -> xr.Dataset | None:
        """Returns gains, kernel and susceptibilities by component and example, each with its standard error."""
        import xarray as xr

        first = measured[0]
        names = [str(plan.jobs([each.component], data="")[0].columns["component"]) for each in measured]
        structures = [each.structure for each in measured]
        size = len(first.watched)
        along = ("component", "example")
        variables: dict[str, Any] = {
            **_both("gain", along, [None if one is None else one.gain() for one in structures], size),
            **_both(
                "susceptibility", along, [None if one is None else one.susceptibility() for one in structures], size
            ),
            **_both("susceptibility_published", along, [_published(one, first.whole) for one in structures], size),
        }
        if first.whole is not None:
            variables |= _named("kernel", ("example", "other"), first.whole.kernel())
        if plan.kernels:
            kernels = [None if one is None else one.kernel() for one in structures]
            variables |= _both("restricted_kernel", ("component", "example", "other"), kernels, size, size)
        coords: dict[str, Any] = {"component": names, "example": list(first.watched), "other": list(first.watched)}
        variables["loss"] = ("example", first.losses.numpy())
        if plan.raw:
            variables["excess"] = (("component", "chain", "look", "example"), _draws(plan, measured))
        if plan.methods:
            variables["ablation_effect"] = (("component", "ablation", "example"), _at_weights(plan, measured))
            coords["ablation"] = list(plan.named_methods)
        if first.tasks is not None:
            variables["counts"] = (("example", "task"), first.tasks.numpy())
            coords["task"] = list(snapshot.loss.task_names)
        coords["status"] = ("component", [each.record.status for each in measured])
        facts = {"run": snapshot.run, "step": snapshot.step, "n_beta": plan.n_beta, "gamma": plan.gamma}
        return xr.Dataset(variables, coords=coords, attrs={**facts, "look_every": plan.look_every})


MEASUREMENTS.register(
    "posterior",
    summary="what the draws around the weights know of single examples: loss gains, loss kernel, susceptibilities",
    source="Baker et al. 2025, arXiv:2504.18274; Adam et al. 2025, arXiv:2509.26537; Kreer et al. 2025, "
    "arXiv:2509.26544",
    plan=PosteriorPlan,
    quantities=("functional_variance", "susceptibility", "loss_gain", "posterior_effect", "ablated_covariance"),
)(PosteriorMeasurement())


def _is_everything(masks: Mapping[str, Tensor], params: Params) -> bool:
    return set(masks) == set(params) and all(bool(mask.all()) for mask in masks.values())


def _raw(plan: PosteriorPlan, record: LLCRecord) -> Tensor | None:
    return record.observed.get(OBSERVED) if plan.raw else None


def _light(record: LLCRecord) -> LLCRecord:
    return replace(record, chains=ChainLosses.unknown(0), observed={})


def _told(plan: PosteriorPlan, snapshot: Snapshot, job: Job, record: LLCRecord, replicate: int) -> dict[str, Any]:
    """Returns the columns that all rows of some chains share, but for quantity, loss, value and error."""
    place = {name: value for name, value in job.columns.items() if name not in ("quantity", "loss")}
    return {
        **snapshot.columns(**place),
        "status": record.status,
        "chains": record.healthy_chains,
        "draws": record.settings.draws,
        "rhat": record.rhat,
        "ess": record.ess,
        "step_size": record.step_size,
        "details": encode_details({"replicate": replicate, "look_every": plan.look_every}),
    }


def _rows(plan: PosteriorPlan, snapshot: Snapshot, same: dict[str, Any], each: Sampled) -> Iterator[Row]:
    """Yields what a component's own chains say: the variance of all losses, and gains and responses by task."""
    structure, tasks = each.structure, each.tasks
    same["n_examples"] = 0 if structure is None else structure.e.shape[1]
    missing = Jackknifed(np.full(1, math.nan), np.full(1, math.nan))
    variance = missing if structure is None else structure.variance()
    yield _row("functional_variance", TRAIN, variance, 0, same, plan.n_beta**2)
    weights = None if tasks is None or structure is None else _weights(tasks)
    if structure is None or weights is None:
        return
    response, gains = structure.susceptibility(weights), structure.gain(weights)
    for number, name in enumerate(snapshot.loss.task_names):
        if weights[number].any():
            yield _row("susceptibility", name, response, number, same)
            yield _row("loss_gain", name, gains, number, same)


def _weights(tasks: Bool[Tensor, "example task"]) -> Array:
    """Returns the weights of the examples in the mean of each task, [task, example]; 0 for a task without any."""
    counts = tasks.double().numpy().T
    return counts / counts.sum(1, keepdims=True).clip(min=1)


def _row(quantity: str, loss: str, told: Jackknifed, number: int, same: dict[str, Any], scale: float = 1.0) -> Row:
    value, stderr = (float(scale * np.atleast_1d(each)[number]) for each in (told.value, told.stderr))
    return Row(**same, quantity=quantity, loss=loss, value=value, stderr=stderr)


def _draws(plan: PosteriorPlan, measured: Sequence[Sampled]) -> npt.NDArray[np.floating[Any]]:
    """Returns the excess losses along all chains, [component, chain, look, example]; NaN where none ran."""
    shape = (plan.settings.chains, -(-plan.settings.draws // plan.look_every), len(measured[0].watched))
    missing = torch.full(shape, math.nan)
    return np.stack([(missing if each.draws is None else each.draws).numpy() for each in measured])


def _at_weights(plan: PosteriorPlan, measured: Sequence[Sampled]) -> npt.NDArray[np.float32]:
    """Returns ablation effects at the weights, [component, ablation, example]; NaN where none can be."""
    missing = np.full(len(measured[0].watched), np.nan)
    rises = [
        [each.effects[name].at_weights if name in each.effects else missing for name in plan.named_methods]
        for each in measured
    ]
    return np.asarray(rises, dtype=np.float32)


def _published(structure: Structure | None, whole: Structure | None) -> Jackknifed | None:
    return None if structure is None or whole is None else structure.published(whole)


def _named(name: str, axes: tuple[str, ...], told: Jackknifed) -> dict[str, Any]:
    return {name: (axes, told.value.astype(np.float32)), f"{name}_stderr": (axes, told.stderr.astype(np.float32))}


def _both(name: str, axes: tuple[str, ...], told: Sequence[Jackknifed | None], *shape: int) -> dict[str, Any]:
    """Returns values and errors of several components, NaN for one without draws."""
    missing = np.full(shape, np.nan)
    stacked = [
        np.stack([missing if one is None else getattr(one, part) for one in told]) for part in ("value", "stderr")
    ]
    return _named(name, axes, Jackknifed(*stacked))
