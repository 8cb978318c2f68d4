"""How the LLC is measured, and becomes rows of the table and traces."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llc_lightning.components.component import Component, parameters_of
from llc_lightning.components.loss import task_loss
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.facts import ChainLosses
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import Restriction
from llc_lightning.llc.slopes import slopes
from llc_lightning.llc.tasks import tasks_of_module
from llc_lightning.measure.cost import Clock, Forecast
from llc_lightning.measure.forecast import forecast_of_chains
from llc_lightning.measure.llc.plan import LLCPlan, least
from llc_lightning.measure.measurements import MEASUREMENTS, TRAIN, Measurement
from llc_lightning.measure.sharing import Piece, batches
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.progress import Advance
from llc_lightning.runtime.status import is_failed, join, split


@dataclass(frozen=True)
class Estimated:
    """The estimates of one component, one for each job of it; on the CPU, for processes to exchange them."""

    component: Component
    records: tuple[LLCRecord, ...]
    """Their draws without burn-in, which nobody keeps."""


class LLCMeasurement(Measurement[LLCPlan]):
    """Estimates, one for each component, loss and rung."""

    def measure(
        self,
        plan: LLCPlan,
        snapshot: Snapshot,
        components: list[Component],
        *,
        replicate: int,
        advance: Advance,
        memory: Any,
    ) -> list[Estimated]:
        """Returns the estimates of some components."""
        by_loss = [_of_loss(plan, snapshot, components, loss, replicate, advance) for loss in plan.losses]
        return [
            Estimated(component, tuple(_kept(record) for columns in by_loss for record in columns[number]))
            for number, component in enumerate(components)
        ]

    def expect(self, snapshot: Snapshot, components: Sequence[Component]) -> None:
        """Has the gradient found for all pieces at once."""
        snapshot.centres.expect(parameters_of(components))

    def pieces(self, plan: LLCPlan, snapshot: Snapshot, components: Sequence[Component]) -> list[Piece]:
        """Returns the components whose chains run as one batch, rung by rung: half a batch costs as much as a whole."""
        together = batches(components, snapshot.params)
        return [Piece(batch, (rung,)) for batch in together for rung in plan.n_beta]

    def joined(self, plan: LLCPlan, measured: Sequence[Estimated]) -> Estimated:
        """Returns the estimates of a component at all rungs, loss by loss."""
        records: list[LLCRecord] = []
        for loss in range(len(plan.losses)):
            for each in measured:
                rungs = len(each.records) // len(plan.losses)
                records += each.records[loss * rungs : (loss + 1) * rungs]
        return Estimated(measured[0].component, tuple(records))

    def rows(
        self, plan: LLCPlan, snapshot: Snapshot, measured: Sequence[Estimated], once: Any, *, data: str, replicate: int
    ) -> Iterator[Row]:
        """Yields the loss once, norms per component, and the LLC with what belongs to it per rung."""
        first = plan.losses[0]
        settings = plan.settings_at(None, data=data, replicate=replicate, loss=first)
        of_no_rung = snapshot.columns(settings=settings, loss=first, revision=plan.revision)
        yield _loss(of_no_rung, measured[0].records[0])
        for each in measured:
            jobs = plan.jobs([each.component], data=data, replicate=replicate)
            component: dict[str, Any] = {name: jobs[0].columns[name] for name in ("component", "kind", "params_moved")}
            yield from _norms({**of_no_rung, **component}, each.records[0])
            for job, record in zip(jobs, each.records, strict=True):
                yield from _llc(snapshot.columns(**job.columns), record)
                yield from _recorded({**snapshot.columns(**job.columns), "quantity": "llc_recorded"}, record)
            rungs = len(plan.n_beta)
            for at, loss in enumerate(plan.losses):
                here = {**snapshot.columns(**jobs[at * rungs].columns), "quantity": "llc_slope"}
                yield from _slopes(plan, here, each.records[at * rungs : (at + 1) * rungs], loss, data)

    def small(self, plan: LLCPlan) -> LLCPlan:
        """Returns one chain of one draw, on the smallest batch, at one rung."""
        return replace(plan, n_beta=plan.n_beta[:1], losses=(TRAIN,), tasks=False, settings=least(plan.settings))

    def forecast(self, plan: LLCPlan, snapshot: Snapshot, components: Sequence[Component], clock: Clock) -> Forecast:
        """Returns what the chains of the first loss cost, times the number of losses."""
        found = forecast_of_chains(snapshot.loss, snapshot, components, plan.resolutions, plan.settings, clock)
        return found.times(len(plan.losses))

    def traces(self, plan: LLCPlan, measured: Sequence[Estimated], *, data: str, replicate: int) -> Iterator[Trace]:
        """Yields the kept draws behind every estimate that has any."""
        for each in measured:
            jobs = plan.jobs([each.component], data=data, replicate=replicate)
            for job, record in zip(jobs, each.records, strict=True):
                if record.excess.numel():
                    place = (str(job.columns["component"]), record.n_beta, record.gamma)
                    losses = (record.excess, record.excess + record.baseline)
                    yield Trace(*place, *losses, replicate, job.settings, record.status)


MEASUREMENTS.register(
    "llc",
    summary="local learning coefficients of the whole model and of components, by sampling around the weights",
    source="Lau et al. 2023, arXiv:2308.12108; Wang et al. 2024, arXiv:2410.02984",
    plan=LLCPlan,
    quantities=("loss", "llc", "llc_recorded", "llc_slope", "llc_correction", "weight_norm", "grad_norm"),
)(LLCMeasurement())


def _kept(record: LLCRecord) -> LLCRecord:
    kept = slice(record.settings.burn_in, None)
    return replace(record, chains=ChainLosses(record.excess[:, kept], record.baseline[:, kept])).on_cpu()


def _of_loss(
    plan: LLCPlan, snapshot: Snapshot, components: list[Component], loss: str, replicate: int, advance: Advance
) -> list[list[LLCRecord]]:
    """Returns the records of all components under one loss, a list of rungs for each."""
    whole, params, data = snapshot.loss, snapshot.params, snapshot.data
    of_all = loss == TRAIN
    sampled, examples = (whole, data) if of_all else task_loss(whole, params, data, loss)
    return estimate_parts(
        sampled,
        params,
        examples,
        [Restriction(component.moved(params)) for component in components],
        plan.resolutions,
        plan.settings,
        seed=snapshot.seed,
        replicate=replicate,
        trivial_loss=snapshot.trivial_loss if of_all else None,
        centre=snapshot.centres.of(loss, sampled, params, examples, parameters_of(components)),
        tasks=tasks_of_module(whole, params, data) if of_all and plan.tasks and whole.task_names else None,
        done=lambda n: advance(n),
    )


def _loss(place: dict[str, Any], record: LLCRecord) -> Row:
    finite = math.isfinite(record.loss)
    return Row(
        **place,
        quantity="loss",
        value=record.loss if finite else math.nan,
        stderr=record.loss_stderr if finite else math.nan,
        status="ok" if finite else "nan-loss",
        n_examples=record.n_examples,
        details=encode_details({"replicate": record.replicate}),
    )


def _norms(place: dict[str, Any], record: LLCRecord) -> Iterator[Row]:
    """Yields the norms of the component's weights and gradient, exact for these weights and data: without error."""
    for quantity, value in (("weight_norm", record.weight_norm), ("grad_norm", record.gradient_norm)):
        finite = math.isfinite(value)
        yield Row(
            **place,
            quantity=quantity,
            value=value if finite else math.nan,
            stderr=0.0 if finite else math.nan,
            status="ok" if finite else "nan-loss",
            n_examples=record.n_examples,
            details=encode_details({"dimension": record.dimension, "replicate": record.replicate}),
        )


def _llc(place: dict[str, Any], record: LLCRecord) -> Iterator[Row]:
    yield Row(
        **place,
        value=record.value,
        stderr=record.stderr,
        status=record.status,
        chains=record.healthy_chains,
        draws=record.settings.draws,
        rhat=record.rhat,
        ess=record.ess,
        step_size=record.step_size,
        n_examples=record.n_examples,
        details=_details(record),
    )
    # Where the curvature is indefinite there is no minimum to correct to, and no Delta: the estimate says so.
    if math.isfinite(record.correction):
        reasons = {reason.name for reason in split(record.status)}
        yield Row(
            **dict(place, quantity="llc_correction"),
            value=record.correction,
            stderr=0.0,
            status=join(reasons & {"not-a-minimum"}),
            n_examples=record.n_examples,
            details=encode_details({"replicate": record.replicate}),
        )


def _slopes(plan: LLCPlan, place: dict[str, Any], records: Sequence[LLCRecord], loss: str, data: str) -> Iterator[Row]:
    """Yields the rows of the slopes between neighbouring rungs; n_beta is that of the upper one."""
    for lower, upper, found in slopes(records):
        pair = (lower.n_beta, upper.n_beta)
        settings = plan.settings_at(pair, data=data, replicate=upper.replicate, loss=loss)
        reasons = {reason.name for record in (lower, upper) for reason in split(record.status)}
        yield Row(
            **dict(place, settings=settings, n_beta=upper.n_beta),
            value=found.value,
            stderr=found.stderr,
            status=join(reasons - {"not-a-minimum"}),  # it needs no baseline at w*
            chains=min(lower.healthy_chains, upper.healthy_chains),
            draws=upper.settings.draws,
            n_examples=upper.n_examples,
            details=encode_details({"replicate": upper.replicate, "n_betas": pair}),
        )


def _recorded(place: dict[str, Any], record: LLCRecord) -> Iterator[Row]:
    """Yields the rows of tasks that were recorded along the chains; a task without examples has none."""
    for name, found in record.tasks.items():
        if math.isfinite(found.value) and not is_failed(record.status):
            yield Row(
                **dict(place, loss=name),
                value=found.value,
                stderr=found.stderr,
                status=record.status,
                chains=record.healthy_chains,
                draws=record.settings.draws,
                step_size=record.step_size,
                n_examples=record.n_examples,
                details=encode_details({"replicate": record.replicate, "sampled": TRAIN}),
            )


def _details(record: LLCRecord) -> str:
    """Returns the record as JSON, but for what has columns or rows of its own, and the draws."""
    columns = {
        "value",
        "stderr",
        "status",
        "n_beta",
        "gamma",
        "step_size",
        "rhat",
        "ess",
        "n_examples",
        "seed",
        "tasks",
    }
    facts = {name: value for name, value in record.facts().items() if name not in columns}
    settings = {name: value for name, value in facts.pop("settings").items() if name not in ("chains", "draws")}
    loss = {"baseline_loss": facts.pop("loss"), "baseline_stderr": facts.pop("loss_stderr")}
    return encode_details(facts | settings | loss)
