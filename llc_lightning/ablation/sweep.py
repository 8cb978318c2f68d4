"""The batched sweep: the effect of every component under every method, paired example by example."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from llc_lightning.ablation.base import Method, resolve_methods
from llc_lightning.ablation.blocks import Blocks
from llc_lightning.ablation.effect import Effect, Summary
from llc_lightning.ablation.examples import Examples
from llc_lightning.ablation.group import Group, Source, check_levels
from llc_lightning.ablation.lanes import Lanes
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.ablation.place import Place, ablatable, kind_of
from llc_lightning.ablation.unread import check_read
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import check_partners, n_examples, to_device
from llc_lightning.runtime.checks import at_least, unless_none
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.types import Batch, Params


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
    columns of the ablated units (:class:`~llc_lightning.ablation.delta.Delta`).

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
            (:func:`~llc_lightning.ablation.warm.warm_start`).

    Raises:
        SettingError: If a method, metric, ``chunk`` or ``block`` is not allowed, or the module lacks the tasks asked
        for.
        AddressError: If there is no component, or one has no activation side, is not found in the activations, or
            nothing reads it.
        DataError: If the data, or the shapes of the module's losses and activations, cannot be used.
    """
    chosen, measured = resolve_methods(methods), resolve_metrics(metrics)
    at_least(1, **unless_none(chunk=chunk))
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
            points=[part.point for component in components for part in component.members],
            partners=counterfactual,
            keep=per_example,
        )
        measurement = _Measurement(examples, chosen, per_example, chunk, seed, dict(warm or {}))
        found = measurement.effects(components, few=True)
        broken = [
            one for one in components if any(effect.n and math.isnan(effect.value) for effect in found[one.address])
        ]
        # A difference cannot heal what is not finite without it; a replaced activation can.
        found |= measurement.effects([one for one in broken if measurement.is_few(one)], few=False)
    # The error of one example is NaN.
    silent = [
        one for one in components if all(effect.value == 0 and not effect.stderr > 0 for effect in found[one.address])
    ]
    points = dict.fromkeys(part.point for one in silent for part in one.members)
    check_read(plain, params, examples.batch(0), list(points))
    return examples.unablated + [effect for component in components for effect in found[component.address]]


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
        return any(kind_of(part, self.examples.activation(part.point), few=True)[2] for part in component.members)

    def effects(self, components: Sequence[Component], *, few: bool) -> dict[str, list[Effect]]:
        """Returns the effects of components by their address."""
        groups: dict[tuple[object, ...], list[Component]] = {}
        for component in components:
            kinds = [kind_of(part, self.examples.activation(part.point), few=few) for part in component.members]
            groups.setdefault(tuple(kinds), []).append(component)
        found: dict[str, list[Effect]] = {}
        for parts in groups.values():
            for part, effects in zip(parts, self._of_group(parts, few=few), strict=True):
                found[part.address] = effects
        return found

    def _of_group(self, parts: Sequence[Component], *, few: bool) -> Iterator[list[Effect]]:
        examples = self.examples
        members = list(zip(*(part.members for part in parts), strict=True))
        places = tuple(Place.of(some, examples.activation(some[0].point), few=few) for some in members)
        lanes = Lanes(
            examples.loss,
            examples.params,
            [(place.point, place.unit_axis) for place in places],
            with_tasks=examples.with_tasks,
            metrics=examples.metrics,
        )
        group = Group(lanes, parts, places, examples, self.chunk, self.seed, self.warm)
        sources = group.sources(self.methods)
        summaries = [
            Summary(examples.names, n=examples.blocks.n, keep=self.keep, metrics=len(examples.metrics)) for _ in sources
        ]
        group.measure(sources, summaries)
        found = [
            (source, list(summary.effects(list(_makes(parts, source, lanes.vmapped)))))
            for source, summary in zip(sources, summaries, strict=True)
        ]
        by_method = [[one for one in found if one[0].method is method] for method in self.methods]
        for place in range(len(parts)):
            yield [
                effects[place][number]
                for own in by_method
                for number in range(len(examples.names))
                for source, effects in own
                if source.losses is None or number in source.losses
            ]


def _makes(parts: Sequence[Component], source: Source, vmapped: bool) -> Iterator[Callable[..., Effect]]:
    """Yields for every component what makes an effect of it out of what was measured."""
    same = {"method": source.method.name, "draws": source.method.draws, "vmapped": vmapped}
    for place, part in enumerate(parts):
        fitted: dict[str, Any] = {}
        if source.constants:
            constants = tuple(values[place] for values in source.constants)
            fitted = {"details": source.details[place], "constants": constants}
        yield partial(Effect, "ablation_effect", part.address, part.kind, **same, **fitted)


def _device(params: Params) -> torch.device:
    return next((tensor.device for tensor in params.values()), torch.device("cpu"))
