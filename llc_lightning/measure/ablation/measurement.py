"""Registers ablation effects among the kinds of measurement."""

from collections.abc import Iterator, Sequence

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.components.component import Component
from llc_lightning.components.loss import TaskQuantity
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.ablation.rows import Warm, ablation_rows, effects, quantities, quantity_rows
from llc_lightning.measure.measurements import MEASUREMENTS, Measurement
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row
from llc_lightning.runtime.progress import Advance


class AblationMeasurement(Measurement[AblationPlan]):
    """Effects, those of a component together; the module's own quantities are measured once."""

    def measure(
        self,
        plan: AblationPlan,
        snapshot: Snapshot,
        components: list[Component],
        *,
        replicate: int,
        advance: Advance,
        memory: Warm,
    ) -> list[list[Effect]]:
        """Returns the effects of some components; the first of them begins with the plain losses."""
        return effects(plan, snapshot, components, advance=advance, warm=memory)

    def once(self, plan: AblationPlan, snapshot: Snapshot) -> list[TaskQuantity]:
        """Returns the module's own quantities."""
        return quantities(plan, snapshot)

    def rows(
        self,
        plan: AblationPlan,
        snapshot: Snapshot,
        measured: Sequence[Sequence[Effect]],
        once: Sequence[TaskQuantity],
        *,
        data: str,
        replicate: int,
    ) -> Iterator[Row]:
        """Yields the plain losses once, every effect, and the module's own quantities."""
        yield from ablation_rows(plan, snapshot, [effect for each in measured for effect in each], data=data)
        yield from quantity_rows(plan, snapshot, once, data=data)

    def memory(self) -> Warm:
        """Returns where fitted methods start from: constants by component, method and loss."""
        return {}


MEASUREMENTS.register(
    "ablation",
    summary="by how much the loss rises when the activation of a component is replaced",
    plan=AblationPlan,
    quantities=(
        *("loss", "ablation_effect", "sign_accuracy", "accuracy", "circuits_solved", "baseline_loss"),
        *("attention_score", "fourier_share"),
    ),
)(AblationMeasurement())
