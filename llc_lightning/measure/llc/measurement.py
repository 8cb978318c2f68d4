"""Registers the LLC among the kinds of measurement."""

from collections.abc import Iterator, Sequence
from typing import Any

from llc_lightning.components.component import Component
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.llc.rows import Estimated, estimate, llc_rows, traces_of
from llc_lightning.measure.measurements import MEASUREMENTS, Measurement
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.progress import Advance


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
        return estimate(plan, snapshot, components, replicate=replicate, advance=advance)

    def rows(
        self, plan: LLCPlan, snapshot: Snapshot, measured: Sequence[Estimated], once: Any, *, data: str, replicate: int
    ) -> Iterator[Row]:
        """Returns the loss once, norms per component, and the LLC with what belongs to it per rung."""
        return llc_rows(plan, snapshot, measured, data=data, replicate=replicate)

    def traces(self, plan: LLCPlan, measured: Sequence[Estimated], *, data: str, replicate: int) -> Iterator[Trace]:
        """Returns the kept draws of every estimate."""
        return traces_of(plan, measured, data=data, replicate=replicate)


MEASUREMENTS.register(
    "llc",
    summary="local learning coefficients of the whole model and of components, by sampling around the weights",
    source="Lau et al. 2023, arXiv:2308.12108; Wang et al. 2024, arXiv:2410.02984",
    plan=LLCPlan,
    quantities=("loss", "llc", "llc_recorded", "llc_slope", "llc_correction", "weight_norm", "grad_norm"),
)(LLCMeasurement())
