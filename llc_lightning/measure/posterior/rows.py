"""How posterior structure is measured, and becomes rows of the table and arrays beside it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.components.component import Component, parameters_of
from llc_lightning.llc.covariance import Array, Jackknifed
from llc_lightning.llc.estimator import estimate_parts, moved_by_default
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
from llc_lightning.measure.posterior.structure import OBSERVED, Responses, Structure
from llc_lightning.measure.sharing import Piece, batches
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.runtime.batches import Batch, chunks, for_params, n_examples, take
from llc_lightning.runtime.progress import Advance
from llc_lightning.sampling.observables.base import Observable
from llc_lightning.sampling.observables.example_losses import ExampleLosses
from llc_lightning.sampling.observables.of_weights import OfWeights

if TYPE_CHECKING:
    import xarray as xr

_TOGETHER = 32


@dataclass(frozen=True)
class Watched:
    """The examples that are watched one by one."""

    numbers: Int[Tensor, "example"]
    examples: Batch
    losses: Float[Tensor, "example"]
    """Theirs at the weights."""
    tasks: Bool[Tensor, "example task"] | None
    """Which of them count for which task; None for a module without tasks."""

    @classmethod
    def of(cls, plan: PosteriorPlan, snapshot: Snapshot) -> Watched:
        """Returns those of a plan."""
        loss, params = snapshot.loss, snapshot.params
        data = snapshot.data if plan.others is None else for_params(plan.others, params)
        n = n_examples(data)
        numbers = which_examples(n, min(plan.watched, n), snapshot.seed).sort().values
        examples = take(data, numbers)
        with torch.no_grad():
            losses = loss(params, examples)
        tasks = loss.per_task(params, examples)[1].cpu() if loss.task_names else None
        return cls(numbers, examples, losses, tasks)

    @property
    def of_tasks(self) -> Array | None:
        """The weights of the examples in the mean of each task, [task, example]; 0 for a task without any."""
        if self.tasks is None:
            return None
        counts = self.tasks.double().numpy().T
        return counts / counts.sum(1, keepdims=True).clip(min=1)


@dataclass(frozen=True)
class Sampled:
    """What the chains of one component know."""

    component: Component
    whole: bool
    """Whether it is all that is trained."""
    record: LLCRecord
    """Without draws."""
    responses: Responses | None
    """None where its chains failed."""
    structure: Structure | None
    """What is left to be compared with the whole model's; likewise."""
    draws: Float[Tensor, "chain look example"] | None = None
    """What the losses are in excess along its chains, where that is kept."""
    under: LLCRecord | None = None
    """The estimate along whose chains it was ablated, without draws; None where it was not."""
    effects: Mapping[str, PosteriorEffect] = field(default_factory=dict[str, PosteriorEffect])
    """What ablating it does along these, by method."""


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
        """Returns what some components' chains know; the whole model's run where it is ablated along them, too."""
        chains = _Chains(plan, snapshot, Watched.of(plan, snapshot), replicate, advance)
        whole = [_is_whole(component, snapshot) for component in components]
        methods = plan.named_methods
        ablated = [component for component in components if component.point and methods]
        everything, effects = chains.of_whole(ablated) if any(whole) or ablated else (None, iter(()))
        parts = [component for component, all_of_it in zip(components, whole, strict=True) if not all_of_it]
        sampled = iter(chains.of_parts(parts))
        found: list[Sampled] = []
        for component, all_of_it in zip(components, whole, strict=True):
            one = replace(everything, component=component) if all_of_it and everything else next(sampled)
            if everything and component.point and methods:
                one = replace(one, under=everything.record, effects={name: next(effects) for name in methods})
            found.append(one)
        return found

    def expect(self, snapshot: Snapshot, components: Sequence[Component]) -> None:
        """Has the gradient found for the whole model and its parts at once."""
        snapshot.centres.expect(parameters_of(components))

    def pieces(self, plan: PosteriorPlan, snapshot: Snapshot, components: Sequence[Component]) -> list[Piece]:
        """Returns the whole model, then the components whose chains run as one batch, in which half costs as much."""
        whole = tuple(component for component in components if _is_whole(component, snapshot))
        parts = [component for component in components if component not in whole]
        return [Piece(whole)] * bool(whole) + [Piece(batch) for batch in batches(parts, snapshot.params)]

    def forecast(
        self, plan: PosteriorPlan, snapshot: Snapshot, components: Sequence[Component], clock: Clock
    ) -> Forecast | None:
        """Returns what the chains cost, looked at as often as the watched examples are; None under ablations."""
        if plan.named_methods:  # whose models are looked at too, along the chains of the whole
            return None
        watched = Watched.of(plan, snapshot)
        seen = ExampleLosses(1, watched.examples, watched.losses, name=OBSERVED)
        return forecast_of_chains(
            snapshot.loss, snapshot, components, [plan.resolution], plan.settings, clock,
            looks=plan.settings.draws // plan.every, observe=[seen],
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
        watched = Watched.of(plan, snapshot)
        for each in measured:
            job, *ablations = plan.jobs([each.component], data=data, replicate=replicate)
            yield from _rows(plan, snapshot, _told(plan, snapshot, job, each.record, replicate), each, watched)
            for job, under in ((job, each.under) for job in ablations if each.under):
                same, effect = _told(plan, snapshot, job, under, replicate), each.effects[job.method]
                same["n_examples"] = len(watched.numbers)
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

        watched = Watched.of(plan, snapshot)
        numbers = [int(number) for number in watched.numbers]
        jobs = plan.jobs([each.component for each in measured], data="")
        names = [str(job.columns["component"]) for job in jobs if not job.method]
        told = [each.responses for each in measured]
        whole = next((each for each in measured if each.whole), None)
        size, along = len(numbers), ("component", "example")
        published = [_published(each, whole) for each in measured]
        variables: dict[str, Any] = {
            **_both("gain", along, [None if one is None else one.gain for one in told], size),
            **_both("susceptibility", along, [None if one is None else one.susceptibility for one in told], size),
            **_both("susceptibility_published", along, published, size),
        }
        if whole is not None and whole.responses is not None and whole.responses.kernel is not None:
            variables |= _named("kernel", ("example", "other"), whole.responses.kernel)
        if plan.kernels:
            kernels = [None if one is None else one.kernel for one in told]
            variables |= _both("restricted_kernel", ("component", "example", "other"), kernels, size, size)
        coords: dict[str, Any] = {"component": names, "example": numbers, "other": numbers}
        variables["loss"] = ("example", watched.losses.cpu().numpy())
        if plan.raw:
            variables["excess"] = (("component", "chain", "look", "example"), _draws(plan, measured, size))
        if plan.methods:
            variables["ablation_effect"] = (("component", "ablation", "example"), _at_weights(plan, measured, size))
            coords["ablation"] = list(plan.named_methods)
        if watched.tasks is not None:
            variables["counts"] = (("example", "task"), watched.tasks.numpy())
            coords["task"] = list(snapshot.loss.task_names)
        coords["status"] = ("component", [each.record.status for each in measured])
        facts = {"run": snapshot.run, "step": snapshot.step, "n_beta": plan.n_beta, "gamma": plan.gamma}
        facts |= {"on": Path(plan.on).name} if plan.on else {}
        return xr.Dataset(variables, coords=coords, attrs={**facts, "look_every": plan.every})


MEASUREMENTS.register(
    "posterior",
    summary="what the draws around the weights know of single examples: loss gains, loss kernel, susceptibilities",
    source="Baker et al. 2025, arXiv:2504.18274; Adam et al. 2025, arXiv:2509.26537; Kreer et al. 2025, "
    "arXiv:2509.26544",
    plan=PosteriorPlan,
    quantities=(
        "functional_variance",
        "response",
        "susceptibility",
        "loss_gain",
        "posterior_effect",
        "ablated_covariance",
    ),
)(PosteriorMeasurement())


@dataclass(frozen=True)
class _Chains:
    """Runs the chains of one share."""

    plan: PosteriorPlan
    snapshot: Snapshot
    watched: Watched
    replicate: int
    advance: Advance

    def of_whole(self, ablated: Sequence[Component]) -> tuple[Sampled, Iterator[PosteriorEffect]]:
        """Returns what the chains of the whole model know, and what ablations do along them, method by method."""
        plan, at = self.plan, self.snapshot
        methods = list(plan.named_methods.values())
        models = models_without(at, ablated, methods, self.watched.numbers) if ablated else None
        under = [OfWeights(plan.every, models, at.params, name=ABLATED)] if models else []
        trained = moved_by_default(at.loss, at.params) or at.params
        (record,) = self._records([Restriction(None)], trained, *under)
        sampled = self._sampled(Component("", "all"), record, whole=True)
        losses = self.watched.losses
        effects = effects_under(record, models.losses(at.params) - losses, losses) if models else []
        return sampled, iter(effects)

    def of_parts(self, components: Sequence[Component]) -> Iterator[Sampled]:
        """Yields what the chains of components know."""
        for some in chunks(len(components), _TOGETHER):  # the draws of a few lanes are in memory at a time
            parts = [Restriction(component.moved(self.snapshot.params)) for component in components[some]]
            moved = parameters_of(components[some])
            for component, record in zip(components[some], self._records(parts, moved), strict=True):
                yield self._sampled(component, record, whole=False)

    def _records(self, parts: list[Restriction], moved: Collection[str], *more: Observable) -> list[LLCRecord]:
        plan, at = self.plan, self.snapshot
        seen = ExampleLosses(plan.every, self.watched.examples, self.watched.losses, name=OBSERVED)
        records = estimate_parts(
            at.loss, at.params, at.data, parts, [plan.resolution], plan.settings, seed=at.seed,
            replicate=self.replicate, observe=[seen, *more], trivial_loss=at.trivial_loss,
            centre=at.centres.of(TRAIN, at.loss, at.params, at.data, moved), done=lambda n: self.advance(n),
        )  # fmt: skip
        return [each[0] for each in records]

    def _sampled(self, component: Component, record: LLCRecord, *, whole: bool) -> Sampled:
        structure = Structure.of(record, kernel=whole or self.plan.kernels)
        light = replace(record, chains=ChainLosses.unknown(0), observed={})
        draws = record.observed.get(OBSERVED) if self.plan.raw else None
        if structure is None:
            return Sampled(component, whole, light, None, None, draws)
        responses, left = structure.responses(self.watched.of_tasks), structure.for_published(whole=whole)
        return Sampled(component, whole, light, responses, left, draws)


def _is_whole(component: Component, snapshot: Snapshot) -> bool:
    """Says whether a component is all that is trained."""
    params = snapshot.params
    trained = moved_by_default(snapshot.loss, params) or params
    if {part.parameter for part in component.weights} != set(trained):
        return False
    return all(bool(mask.all()) for mask in component.moved(params).values())


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
        "details": encode_details(
            {"replicate": replicate, "look_every": plan.every} | ({"on": Path(plan.on).name} if plan.on else {})
        ),
    }


def _rows(
    plan: PosteriorPlan, snapshot: Snapshot, same: dict[str, Any], each: Sampled, watched: Watched
) -> Iterator[Row]:
    """Yields what a component's own chains say: the variance of all losses, its response, and both by task."""
    told, weights = each.responses, watched.of_tasks
    same["n_examples"] = 0 if told is None else len(watched.numbers)
    missing = Jackknifed(np.full(1, math.nan), np.full(1, math.nan))
    yield _row("functional_variance", TRAIN, missing if told is None else told.variance, 0, same, plan.n_beta**2)
    if told is None or np.isfinite(told.response.value):  # of one chain there is none
        yield _row("response", TRAIN, missing if told is None else told.response, 0, same)
    if told is None or told.by_task is None or weights is None:
        return
    response, gains = told.by_task
    for number, name in enumerate(snapshot.loss.task_names):
        if weights[number].any():
            yield _row("susceptibility", name, response, number, same)
            yield _row("loss_gain", name, gains, number, same)


def _row(quantity: str, loss: str, told: Jackknifed, number: int, same: dict[str, Any], scale: float = 1.0) -> Row:
    value, stderr = (float(scale * np.atleast_1d(each)[number]) for each in (told.value, told.stderr))
    return Row(**same, quantity=quantity, loss=loss, value=value, stderr=stderr)


def _draws(plan: PosteriorPlan, measured: Sequence[Sampled], size: int) -> npt.NDArray[np.floating[Any]]:
    """Returns the excess losses along all chains, [component, chain, look, example]; NaN where none ran."""
    shape = (plan.settings.chains, -(-plan.settings.draws // plan.every), size)
    missing = torch.full(shape, math.nan)
    return np.stack([(missing if each.draws is None else each.draws).numpy() for each in measured])


def _at_weights(plan: PosteriorPlan, measured: Sequence[Sampled], size: int) -> npt.NDArray[np.float32]:
    """Returns ablation effects at the weights, [component, ablation, example]; NaN where none can be."""
    missing = np.full(size, np.nan)
    rises = [
        [each.effects[name].at_weights if name in each.effects else missing for name in plan.named_methods]
        for each in measured
    ]
    return np.asarray(rises, dtype=np.float32)


def _published(each: Sampled, whole: Sampled | None) -> Jackknifed | None:
    if whole is None or whole.structure is None or each.structure is None:
        return None
    return each.structure.published(whole.structure)


def _named(name: str, axes: tuple[str, ...], told: Jackknifed) -> dict[str, Any]:
    return {name: (axes, told.value.astype(np.float32)), f"{name}_stderr": (axes, told.stderr.astype(np.float32))}


def _both(name: str, axes: tuple[str, ...], told: Sequence[Jackknifed | None], *shape: int) -> dict[str, Any]:
    """Returns values and errors of several components, NaN for one without draws."""
    missing = np.full(shape, np.nan)
    stacked = [
        np.stack([missing if one is None else getattr(one, part) for one in told]) for part in ("value", "stderr")
    ]
    return _named(name, axes, Jackknifed(*stacked))
