"""From records of LLC estimates to rows of the table, and to traces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llc_lightning.components.component import Component
from llc_lightning.llc.diagnostics import minimum_reasons
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.parts import Part
from llc_lightning.llc.record import LLCRecord
from llc_lightning.measure.plans import LLCPlan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.progress import Advance
from llc_lightning.runtime.status import is_failed, join


@dataclass(frozen=True)
class Estimated:
    """The estimates of one component, one for each rung of the ladder; on the CPU, for processes to exchange them."""

    component: Component
    records: tuple[LLCRecord, ...]


def estimate(
    plan: LLCPlan, snapshot: Snapshot, components: list[Component], *, replicate: int, advance: Advance
) -> list[Estimated]:
    """Returns the estimates of some components at a snapshot."""
    if not components:
        return []
    parts = [Part(component.moved(snapshot.params), whole=component.kind == "all") for component in components]
    columns = estimate_parts(
        snapshot.loss,
        snapshot.params,
        snapshot.data,
        parts,
        plan.resolutions,
        plan.settings,
        seed=snapshot.seed,
        replicate=replicate,
        trivial_loss=snapshot.trivial_loss,
        done=lambda n: advance(n),
    )
    return [
        Estimated(component, tuple(_on_cpu(record) for record in records))
        for component, records in zip(components, columns, strict=True)
    ]


def llc_rows(
    plan: LLCPlan, snapshot: Snapshot, estimated: Sequence[Estimated], *, data: str, replicate: int
) -> Iterator[Row]:
    """Yields the rows of all estimates: the loss once, norms per component, the LLC and its correction per rung.

    Args:
        plan: What was measured.
        snapshot: Where.
        estimated: The estimates, in the order of the components.
        data: The digest of the examples.
        replicate: Number of the set of random streams.
    """
    of_no_rung = snapshot.columns(settings=plan.settings_at(None, data=data, replicate=replicate))
    yield _loss(of_no_rung, estimated[0].records[0])
    for each in estimated:
        jobs = plan.jobs([each.component], data=data, replicate=replicate)
        component: dict[str, Any] = {name: jobs[0].columns[name] for name in ("component", "kind", "params_moved")}
        yield from _norms({**of_no_rung, **component}, each.records[0])
        for job, record in zip(jobs, each.records, strict=True):
            yield from _llc(snapshot.columns(**job.columns), record)


def traces_of(plan: LLCPlan, estimated: Sequence[Estimated], *, data: str, replicate: int) -> Iterator[Trace]:
    """Yields the kept draws behind every estimate that has any."""
    for each in estimated:
        jobs = plan.jobs([each.component], data=data, replicate=replicate)
        for job, record in zip(jobs, each.records, strict=True):
            excess = record.excess[:, plan.settings.burn_in :]
            if excess.numel():
                loss = excess + record.baseline[:, plan.settings.burn_in :]
                address = str(job.columns["component"])
                yield Trace(address, record.n_beta, record.gamma, excess, loss, replicate, job.settings, record.status)


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
        value, stderr, correction = record.value, record.stderr, record.correction
        known = not is_failed(record.status)
        reasons = minimum_reasons(value=value, correction=correction, stderr=stderr) if known else []
        beside: dict[str, Any] = {**place, "quantity": "llc_correction"}
        yield Row(
            **beside,
            value=record.correction,
            stderr=0.0,
            status=join(reasons),
            n_examples=record.n_examples,
            details=encode_details({"replicate": record.replicate}),
        )


def _details(record: LLCRecord) -> str:
    settings = record.settings
    return encode_details(
        {
            "replicate": record.replicate,
            "per_chain": list(record.per_chain),
            "ess_tail": record.ess_tail,
            "mcse": record.mcse,
            "dimension": record.dimension,
            "correction": record.correction,
            "excess_loss": record.excess_loss,
            "distance": record.distance,
            "weight_norm": record.weight_norm,
            "model_norm": record.model_norm,
            "gradient_norm": record.gradient_norm,
            "curvature": record.curvature,
            "predicted_bias": record.predicted_bias,
            "baseline_loss": record.loss,
            "baseline_stderr": record.loss_stderr,
            "paired": True,
            "vmapped": record.vmapped,
            "sampler": settings.sampler,
            "preconditioner": settings.preconditioner,
            "step_size": settings.step_size,
            "step_fraction": settings.step_fraction,
            "burn_in": settings.burn_in,
            "batch_size": settings.batch_size,
            "curvature_examples": settings.curvature_examples,
        }
    )


def _on_cpu(record: LLCRecord) -> LLCRecord:
    # Clones, since pickling a view of the draws of all lanes would send all of them with every record.
    return replace(record, excess=record.excess.cpu().clone(), baseline=record.baseline.cpu().clone())
