"""How the LLC under ablation is measured, and becomes rows of the table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llc_lightning.ablation.engine.base import resolve_methods
from llc_lightning.components.component import Component
from llc_lightning.measure.ablated_llc.estimates import Laboratory, Told
from llc_lightning.measure.ablated_llc.plan import CLOSING, AblatedLLCPlan
from llc_lightning.measure.cost import Clock, Forecast
from llc_lightning.measure.forecast import brief, timed
from llc_lightning.measure.jobs import Job
from llc_lightning.measure.llc.plan import least
from llc_lightning.measure.measurements import MEASUREMENTS, Measurement
from llc_lightning.measure.sharing import Piece
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, encode_details
from llc_lightning.runtime.batches import n_examples, take
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.progress import Advance


@dataclass(frozen=True)
class Measured:
    """What was measured of one component, by method ('' for none) and rung, and of the control at every rung."""

    component: Component
    told: dict[tuple[str, float], list[Told]]
    control: dict[float, list[Told]]


class AblatedLLCMeasurement(Measurement[AblatedLLCPlan]):
    """The LLC of ablated models, re-optimised, each against the whole model's."""

    def measure(
        self,
        plan: AblatedLLCPlan,
        snapshot: Snapshot,
        components: list[Component],
        *,
        replicate: int,
        advance: Advance,
        memory: Any,
    ) -> list[Measured]:
        """Returns what some components' ablations do; every process runs the control's chains itself.

        Raises:
            SettingError: If the plan asks for more examples than there are.
        """
        n = n_examples(snapshot.data)
        if plan.examples is not None and plan.examples > n:
            raise SettingError(
                f"examples is {plan.examples}, but there are {n} to measure on; give at most that, or null for all."
            )
        data = take(snapshot.data, slice(0, plan.examples))
        measured = [Measured(component, {}, {}) for component in components]
        for at in plan.resolutions:
            laboratory = Laboratory(plan, snapshot, data, at, replicate, advance)
            control = laboratory.control()
            for each in measured:
                each.control[at.n_beta] = control.values
                for method in resolve_methods(plan.methods):
                    each.told[method.name, at.n_beta] = laboratory.under(each.component, method, control)
                if plan.complement:
                    each.told["", at.n_beta] = laboratory.complement(each.component, control)
        return measured

    def pieces(self, plan: AblatedLLCPlan, snapshot: Snapshot, components: Sequence[Component]) -> list[Piece]:
        """Returns every component rung by rung, those of a rung side by side: each process needs the rung's control."""
        return [Piece((component,), (rung,)) for rung in plan.n_beta for component in components]

    def joined(self, plan: AblatedLLCPlan, measured: Sequence[Measured]) -> Measured:
        """Returns what was measured of a component at all rungs."""
        told, control = (
            {at: some for each in measured for at, some in getattr(each, name).items()} for name in ("told", "control")
        )
        return Measured(measured[0].component, told, control)

    def forecast(
        self, plan: AblatedLLCPlan, snapshot: Snapshot, components: Sequence[Component], clock: Clock
    ) -> Forecast:
        """Returns what the control costs and, as much for all, the first component by the first method."""
        n = n_examples(take(snapshot.data, slice(0, plan.examples)))
        few = brief(plan.settings.on(n), n)
        one = replace(plan, n_beta=plan.n_beta[:1], methods=plan.methods[:1], settings=few, complement=False)
        control, *jobs = timed(
            lambda done: self.measure(one, snapshot, list(components[:1]), replicate=0, advance=done, memory=None),
            few, plan.settings, clock,
        )  # fmt: skip
        rungs = len(plan.n_beta)
        per_method = 1 + plan.closure + plan.joint
        each = sum(jobs) / per_method * (len(plan.methods) * per_method + plan.complement) * rungs
        return Forecast(control * rungs, {component.address: each for component in components})

    def small(self, plan: AblatedLLCPlan) -> AblatedLLCPlan:
        """Returns one chain of one draw, at one rung, after as little re-optimisation as there can be."""
        return replace(
            plan, n_beta=plan.n_beta[:1], settings=least(plan.settings), budget=10, closure=False, complement=False
        )

    def rows(
        self,
        plan: AblatedLLCPlan,
        snapshot: Snapshot,
        measured: Sequence[Measured],
        once: Any,
        *,
        data: str,
        replicate: int,
    ) -> Iterator[Row]:
        """Yields the control's rows of every rung, then those of every component, method and rung."""
        for at in plan.resolutions:
            settings = plan.settings_at(at, data=data, replicate=replicate)
            resolution = {"n_beta": at.n_beta, "gamma": at.gamma, "params_moved": "all"}
            place = snapshot.columns(settings=settings, revision=plan.revision_with(""), **resolution)
            for told in measured[0].control[at.n_beta]:
                yield _row(plan, place, told, snapshot, replicate)
        for each in measured:
            # What is told at a place has the columns of one of its jobs: a closure its own, all else the shift's.
            jobs: dict[tuple[str, float], dict[bool, Job]] = {}
            for job in plan.jobs([each.component], data=data, replicate=replicate):
                jobs.setdefault((job.method, job.columns["n_beta"]), {}).setdefault(job.quantity in CLOSING, job)
            for place, own in jobs.items():
                for told in each.told[place]:
                    columns = own[told.quantity in CLOSING].columns
                    columns = {name: value for name, value in columns.items() if name != "quantity"}
                    yield _row(plan, snapshot.columns(**columns), told, snapshot, replicate)


MEASUREMENTS.register(
    "ablated_llc",
    summary="local learning coefficients of models without a component, re-optimised, against that of the whole model",
    plan=AblatedLLCPlan,
    quantities=(
        *("llc_ablated", "llc_shift", "recovery_gap", "recovery_gap_plain", "llc_unrecovered", "recovery_closure"),
        *("llc_complement", "complement_shift", "llc_joint", "joint_shift", "recovery_gap_joint"),
    ),
)(AblatedLLCMeasurement())


def _row(plan: AblatedLLCPlan, place: dict[str, Any], told: Told, snapshot: Snapshot, replicate: int) -> Row:
    record, failed = told.record, not math.isfinite(told.value)
    n = n_examples(snapshot.data) if plan.examples is None else plan.examples
    of_chains: dict[str, Any] = {}
    if record is not None:
        of_chains = {
            "chains": record.healthy_chains,
            "draws": record.settings.draws,
            "rhat": record.rhat,
            "ess": record.ess,
            "step_size": record.step_size,
        }
    return Row(
        **place,
        quantity=told.quantity,
        value=math.nan if failed else told.value,
        stderr=math.nan if failed else told.stderr,
        status=told.status,
        n_examples=n,
        details=encode_details({"replicate": replicate, **dict(told.details)}),
        **of_chains,
    )
