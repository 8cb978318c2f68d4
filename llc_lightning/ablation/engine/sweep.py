"""The batched sweep: the effect of every component under every method, paired example by example."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from llc_lightning.ablation.engine.base import Method, check_levels, resolve_methods
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.group import Group
from llc_lightning.ablation.engine.lanes import Lanes
from llc_lightning.ablation.engine.pairing import Ablations, measure
from llc_lightning.ablation.engine.place import Kind, Place, ablatable, kind_of
from llc_lightning.ablation.engine.sources import Replacing, Source, sources_of
from llc_lightning.ablation.engine.unread import check_read
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners, n_examples, to_device
from llc_lightning.runtime.checks import at_least
from llc_lightning.runtime.errors import SettingError


def sweep(
    loss: ModuleLoss,
    params: Params,
    data: Batch,
    components: Sequence[Component],
    methods: str | Method | Sequence[str | Method],
    *,
    seed: int,
    tasks: bool = False,
    metrics: str | Metric | Sequence[str | Metric] = (),
    counterfactual: Batch | None = None,
    per_example: bool = False,
    chunk: int | None = None,
    block: int | None = None,
    warm: Mapping[str, tuple[Tensor, ...]] | None = None,
) -> list[Effect]:
    """Returns the unablated losses, then the effect of every component under every method on every loss, in this order.

    An effect is the mean over examples of ``mean over draws of L_i(ablated) - L_i``. Components of one hook point share
    the replacement values, and donors and noise are the same at every hook point, so that differences between
    components have small errors. In a difference the unablated loss comes from the same forward pass, with nothing
    replaced: an ablation that changes no activation has an effect of exactly 0.

    Only what lies behind an ablated hook point is computed per ablation, and of a linear map that reads it only the
    columns of the ablated units (:class:`~llc_lightning.ablation.engine.delta.Delta`).

    On a CPU every effect has the same bits alone and beside others, whatever ``chunk`` is, at one and at two threads
    (:class:`Blocks` says why; with more threads only where a module's elementwise functions round alike in a
    vector and alone, as relu, tanh and softmax do and sigmoid does not).

    Hook points come one after the other. In memory are the activations of one point on all examples, where a method
    looks at them (of all points, where they are few), and one forward pass of ``chunk`` times ``block`` examples.

    Args:
        loss: The module's loss; edits that it holds are dropped.
        params: The weights to measure at.
        data: The examples.
        components: Parts with an activation side, of any hook points.
        methods: Ablation methods, by name and options or as objects.
        seed: The run's seed; donors and noise are keyed by it and by the draw alone.
        tasks: Whether to measure on every task of the module as well.
        metrics: What else to measure: ``kl``, ``accuracy``, ``logit_difference`` with their options, or objects; on
            the loss ``metric:NAME``.
        counterfactual: The examples' partners, for the method ``counterfactual``; by default those that the module's
            ``counterfactual(batch)`` gives.
        per_example: Whether to keep the values of every example (on ``train`` and of metrics).
        chunk: Ablations per forward pass; without it as many as fit a CPU's cache or a small part of a GPU's memory.
        block: Examples per forward pass, a power of two; changes the last bits.
        warm: Constants of earlier effects for fitted methods to start from as well, by component and method
            (:func:`~llc_lightning.ablation.engine.warm.warm_start`).

    Raises:
        SettingError: If a method, metric, ``chunk`` or ``block`` is not allowed, or the module lacks the tasks asked
        for.
        AddressError: If there is no component, or one has no activation side, is not found in the activations, or
            nothing reads it.
        DataError: If the data, or the shapes of the module's losses and activations, cannot be used.
    """
    chosen, measured = resolve_methods(methods), resolve_metrics(metrics)
    at_least(1, chunk=chunk)
    if tasks and not loss.task_names:
        raise SettingError(
            "the module has no tasks; give it task_names and per_task_loss, or measure with tasks=False."
        )
    check_levels(chosen, ablatable(components))
    n_examples(data)
    if counterfactual is not None:
        check_partners(counterfactual, data, what="counterfactual partners")
    plain = loss.with_edits(())
    names = ("train", *(loss.task_names if tasks else ()), *(f"metric:{metric.name}" for metric in measured))
    with torch.no_grad():
        examples = Examples(
            plain,
            params,
            Blocks.of(to_device(data, _device(params)), block),
            names,
            metrics=measured,
            points=[member.point for component in components for member in component.members],
            partners=counterfactual,
            keep=per_example,
        )
        measurement = _Measurement(examples, chosen, per_example, chunk, seed, dict(warm or {}))
        found = measurement.replaced(components, few=True)
        broken = [
            component
            for component in components
            if any(effect.n and math.isnan(effect.value) for effect in measurement.listed(component, found))
        ]
        # A difference cannot heal what is not finite without it; a replaced activation can.
        found |= measurement.replaced([one for one in broken if measurement.is_few(one)], few=False)
    # The error of one example is NaN.
    silent = [
        component
        for component in components
        if all(effect.value == 0 and not effect.stderr > 0 for effect in measurement.listed(component, found))
    ]
    points = dict.fromkeys(member.point for component in silent for member in component.members)
    check_read(plain, params, examples.batch(0), list(points))
    return examples.unablated + [effect for component in components for effect in measurement.listed(component, found)]


Effects: TypeAlias = dict[tuple[str, str], list[Effect]]
"""The effects of an ablation on every loss, by the component's address and the method's name."""


class _Measurement:
    """What is to be measured of any component."""

    def __init__(
        self,
        examples: Examples,
        methods: Sequence[Method],
        keep: bool,
        chunk: int | None,
        seed: int,
        warm: Mapping[str, tuple[Tensor, ...]],
    ) -> None:
        self.examples, self.methods = examples, methods
        self.keep, self.chunk, self.seed, self.warm = keep, chunk, seed, warm

    def is_few(self, component: Component) -> bool:
        """Says whether few units of a component are replaced one by one."""
        return any(kind[2] for kind in self._kinds(component, few=True))

    def listed(self, component: Component, effects: Effects) -> list[Effect]:
        """Returns a component's effects, method by method."""
        return [effect for method in self.methods for effect in effects[component.address, method.name]]

    def replaced(self, components: Sequence[Component], *, few: bool) -> Effects:
        """Returns the effects of replacing the activations of components.

        Args:
            components: The components.
            few: Whether few units are replaced one by one.
        """
        groups: dict[tuple[Kind, ...], list[Component]] = {}
        for component in components:
            groups.setdefault(self._kinds(component, few=few), []).append(component)
        effects: Effects = {}
        for group in groups.values():
            effects |= self._effects(self._replacing(group, few=few))
        return effects

    def _kinds(self, component: Component, *, few: bool) -> tuple[Kind, ...]:
        members = component.members
        return tuple(kind_of(member, self.examples.activation(member.point), few=few) for member in members)

    def _replacing(self, components: Sequence[Component], *, few: bool) -> Ablations:
        examples = self.examples
        members = list(zip(*(component.members for component in components), strict=True))
        places = tuple(Place.of(some, examples.activation(some[0].point), few=few) for some in members)
        lanes = Lanes(
            examples.loss,
            examples.params,
            [(place.point, place.unit_axis) for place in places],
            with_tasks=examples.with_tasks,
            metrics=examples.metrics,
        )
        group = Group(lanes, components, places, examples, self.chunk, self.seed, self.warm)
        return Replacing(group, sources_of(group, self.methods))

    def _effects(self, ablations: Ablations) -> Effects:
        """Returns the effects of some ablations; on each loss those of the source that is for it."""
        effects: Effects = {}
        summaries = measure(ablations, keep=self.keep)
        measured = [
            (source, list(summary.effects(list(_makes(ablations, source)))))
            for source, summary in zip(ablations.sources, summaries, strict=True)
        ]
        for number in range(len(self.examples.names)):
            for source, by_component in measured:
                if source.losses is not None and number not in source.losses:
                    continue
                for component, by_loss in zip(ablations.components, by_component, strict=True):
                    effects.setdefault((component.address, source.method.name), []).append(by_loss[number])
        return effects


def _makes(ablations: Ablations, source: Source) -> Iterator[Callable[..., Effect]]:
    """Yields for every component what makes an effect of it out of what was measured."""
    same = {"method": source.method.name, "draws": source.method.draws, "vmapped": ablations.vmapped}
    for number, component in enumerate(ablations.components):
        fitted: dict[str, Any] = {}
        if source.constants:
            constants = tuple(values[number] for values in source.constants)
            fitted = {"details": source.details[number], "constants": constants}
        yield partial(Effect, "ablation_effect", component.address, component.kind, **same, **fitted)


def _device(params: Params) -> torch.device:
    return next((tensor.device for tensor in params.values()), torch.device("cpu"))
