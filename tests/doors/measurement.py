"""A third kind of measurement, as a contributor would write it: how far the weights of a component spread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from llc_lightning.callbacks.base import CALLBACKS, MeasurementCallback
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.measure.jobs import Job, settings_name
from llc_lightning.measure.measurements import MEASUREMENTS, Measurement
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.quantities import register_quantity
from llc_lightning.results.schema import Row
from llc_lightning.runtime.batches import Batch, n_examples
from llc_lightning.runtime.cadence import Cadence
from llc_lightning.runtime.progress import Advance

register_quantity("weight_spread", unit="1", definition="Standard deviation of the weights of the component, scaled.")


@dataclass(frozen=True, kw_only=True)
class SpreadPlan:
    kind: ClassVar[str] = "spread"
    repeatable: ClassVar[bool] = False
    components: tuple[str, ...]
    scale: float = 1.0
    examples: int | None = None
    revision: int = 1

    def fitted(self, n_examples: int) -> "SpreadPlan":
        return self

    def components_of(self, module: nn.Module, data: Batch | None = None) -> list[Component]:
        return find_components(module, self.components)

    def jobs(self, components: Sequence[Component], *, data: str, replicate: int = 0) -> list[Job]:
        name = settings_name({"measure": self.kind, "data": data}, {"scale": self.scale}, baseline={"scale": 1.0})
        return [Job("weight_spread", component, name) for component in components]

    @property
    def breadth(self) -> tuple[int, int]:
        return 1, 1

    def narrowed(self, rungs: int, methods: int) -> Any:
        return self

    def cost(self, jobs: Sequence[Job]) -> int:
        return len(jobs)

    def owns(self, quantity: str, loss: str) -> bool:
        return quantity == "weight_spread"


class SpreadMeasurement(Measurement[SpreadPlan]):
    def measure(
        self,
        plan: SpreadPlan,
        snapshot: Snapshot,
        components: list[Component],
        *,
        replicate: int,
        advance: Advance,
        memory: Any,
    ) -> list[tuple[Component, float]]:
        found: list[tuple[Component, float]] = []
        for component in components:
            moved = component.moved(snapshot.params)
            flat = [snapshot.params[name][mask] for name, mask in moved.items()]
            found.append((component, plan.scale * max(values.std(correction=0).item() for values in flat)))
            advance(1)
        return found

    def rows(
        self,
        plan: SpreadPlan,
        snapshot: Snapshot,
        measured: Sequence[tuple[Component, float]],
        once: Any,
        *,
        data: str,
        replicate: int,
    ) -> Iterator[Row]:
        for component, value in measured:
            (job,) = plan.jobs([component], data=data)
            yield Row(**snapshot.columns(**job.columns), value=value, stderr=0.0, n_examples=n_examples(snapshot.data))


MEASUREMENTS.register("spread", summary="how far weights spread", plan=SpreadPlan, quantities=("weight_spread",))(
    SpreadMeasurement()
)


@CALLBACKS.register("spread", summary="measures how far weights spread", keys=("spread",), place=3)
class SpreadCallback(MeasurementCallback):
    """Measures how far the weights of components spread.

    Args:
        when: The cadence.
        components: Of what.
        scale: Of the values.
        data: Examples to name in the rows.
        name: Names the callback's files.
    """

    def __init__(
        self,
        when: Cadence | None,
        *,
        components: str | Sequence[str] = "layers",
        scale: float = 1.0,
        data: Batch | None = None,
        name: str = "spread",
    ) -> None:
        chosen = (components,) if isinstance(components, str) else tuple(components)
        super().__init__(when, SpreadPlan(components=chosen, scale=scale), name=name, data=data)
