"""How ablation effects, and what only the module can measure, are measured and become rows of the table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from torch import Tensor

from llc_lightning.ablation.engine.effect import Effect, warm_start
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.procedures.attribution import attributed
from llc_lightning.ablation.significance import with_statistics
from llc_lightning.components.component import Component
from llc_lightning.components.loss import TaskQuantity
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.cost import Clock, Forecast
from llc_lightning.measure.forecast import by_examples
from llc_lightning.measure.measurements import MEASUREMENTS, Measurement
from llc_lightning.measure.sharing import Piece
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import COMMON, Row, encode_details
from llc_lightning.runtime.batches import Batch, n_examples, take
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.progress import Advance, silent

Warm: TypeAlias = dict[str, tuple[Tensor, ...]]
"""Constants of fitted methods, by component, method and loss."""
_SMALL = 1 << 14
"""Of a network of so many weights the ablations cost less than what those of a hook point share."""


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
        """Returns the effects of some components, a list for each; the first of them begins with the plain losses.

        Raises:
            SettingError: If the plan asks for more examples than there are.
        """
        seed = snapshot.seed if plan.seed is None else plan.seed
        found = sweep(
            snapshot.loss,
            snapshot.params,
            _examples(plan, snapshot),
            components,
            plan.methods,
            seed=seed,
            tasks=plan.tasks and bool(snapshot.loss.task_names),
            metrics=plan.metrics,
            mask=plan.mask,
            per_example=plan.resamples > 0,
            warm=memory if plan.warm_start else None,
            done=lambda n: advance(n),
        )
        if plan.resamples:
            found = with_statistics(found, resamples=plan.resamples, seed=seed)
        estimated = self._estimated(plan, snapshot, components, seed) if plan.attribution else []
        advance(len(components) * len(plan.attribution))
        if plan.warm_start:
            memory.update(warm_start(found))
        by_address: dict[str, list[Effect]] = {component.address: [] for component in components}
        for effect in [*found, *estimated]:
            by_address[effect.component or components[0].address].append(effect)
        return list(by_address.values())

    def _estimated(
        self, plan: AblationPlan, snapshot: Snapshot, components: list[Component], seed: int
    ) -> list[Effect]:
        """Returns what gradients say of the effects on the training loss."""
        examples = _examples(plan, snapshot)
        names = {f"attribution(of={name})": name for name in plan.attributed}
        found = attributed(
            snapshot.loss, snapshot.params, examples, components, plan.attribution, mask=plan.mask, seed=seed
        )
        return [replace(one, quantity="attribution", method=names[one.method]) for one in found if one.component]

    def pieces(self, plan: AblationPlan, snapshot: Snapshot, components: Sequence[Component]) -> list[Piece]:
        """Returns every component alone; in a small network it shares passes with those of its kind and hook points."""
        if sum(tensor.numel() for tensor in snapshot.params.values()) > _SMALL:
            return [Piece((one,)) for one in components]
        return [
            Piece((one,), shares=" ".join((one.kind, *(member.point for member in one.members)))) for one in components
        ]

    def once(self, plan: AblationPlan, snapshot: Snapshot) -> list[TaskQuantity]:
        """Returns the module's own quantities; none where the plan wants no tasks."""
        return snapshot.loss.task_quantities(snapshot.params, _examples(plan, snapshot)) if plan.tasks else []

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
        yield from _effects(plan, snapshot, [effect for each in measured for effect in each], data)
        yield from _quantities(plan, snapshot, once, data)

    def forecast(
        self, plan: AblationPlan, snapshot: Snapshot, components: Sequence[Component], clock: Clock
    ) -> Forecast:
        """Returns what the sweep costs, from sweeps on fewer examples; as much for each component."""

        def run(n: int) -> None:
            few = replace(plan, examples=n)
            self.measure(few, snapshot, list(components), replicate=0, advance=silent, memory=self.memory())
            self.once(few, snapshot)

        n = n_examples(_examples(plan, snapshot))
        each = by_examples(run, n, clock) / len(components)
        return Forecast(0.0, {component.address: each for component in components})

    def small(self, plan: AblationPlan) -> AblationPlan:
        """Returns the plan without statistics."""
        return replace(plan, resamples=0, warm_start=False)

    def memory(self) -> Warm:
        """Returns where fitted methods start from: constants by component, method and loss."""
        return {}


MEASUREMENTS.register(
    "ablation",
    summary="by how much the loss rises when the activation of a component is replaced, or its weights are edited",
    plan=AblationPlan,
    quantities=(
        *("loss", "ablation_effect", "attribution", "sign_accuracy", "accuracy", "circuits_solved", "baseline_loss"),
        *("attention_score", "fourier_share"),
    ),
)(AblationMeasurement())


def _effects(plan: AblationPlan, snapshot: Snapshot, found: Sequence[Effect], data: str) -> Iterator[Row]:
    """Yields the rows of effects and plain losses, each loss once though every process measures them."""
    # A plain loss has no method.
    revisions = {"": 1} | plan.attributed | plan.revisions
    settings = {name: plan.settings_with(data, revision=revision) for name, revision in revisions.items()}
    # One name for all methods of a plan, whose revisions differ: it says which effects can be compared.
    common = plan.settings_with(data)
    losses: set[str] = set()
    for effect in found:
        plain = effect.quantity == "loss"
        if plain and effect.loss in losses:
            continue
        losses.add(effect.loss)
        # p_adjusted is over the components of one process; the analysis adjusts over all of them.
        known = {name: value for name, value in effect.details.items() if name != "p_adjusted"}
        told = {"draws": effect.draws, "vmapped": effect.vmapped, COMMON: common, **known}
        yield Row(
            **snapshot.columns(settings=settings[effect.method], revision=revisions[effect.method]),
            quantity=effect.quantity,
            component=effect.component,
            kind=effect.kind,
            method=effect.method,
            loss=effect.loss,
            value=effect.value,
            stderr=effect.stderr,
            status=effect.status,
            draws=effect.draws,
            n_examples=effect.n,
            details=encode_details({} if plain else told),
        )


def _quantities(plan: AblationPlan, snapshot: Snapshot, found: Sequence[TaskQuantity], data: str) -> Iterator[Row]:
    """Yields the rows of the module's own quantities."""
    place = snapshot.columns(settings=plan.settings_with(data))
    for each in found:
        finite = math.isfinite(each.value)
        yield Row(
            **place,
            quantity=each.quantity,
            component=each.component,
            kind=each.kind,
            method=each.method,
            loss=each.loss,
            value=each.value if finite else math.nan,
            stderr=each.stderr if finite else math.nan,
            status="ok" if finite else "nan-loss",
            n_examples=each.n,
            unit=each.unit,
        )


def _examples(plan: AblationPlan, snapshot: Snapshot) -> Batch:
    n = n_examples(snapshot.data)
    if plan.examples is not None and plan.examples > n:
        raise SettingError(
            f"examples is {plan.examples}, but there are {n} to measure on; give at most that, or null for all."
        )
    return take(snapshot.data, slice(0, plan.examples))
