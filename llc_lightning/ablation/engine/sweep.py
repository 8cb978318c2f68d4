"""The batched sweep: the effect of every component under every method, paired example by example."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor

from llc_lightning.ablation.engine.base import Method, WeightMethod, check_components, entry_of, resolve_methods
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.editing import Editing
from llc_lightning.ablation.engine.effect import Effect, Effects, Outcome
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.lanes import Ablation, Lanes, in_weights
from llc_lightning.ablation.engine.mask import Mask, check_mask, warn_of_padding
from llc_lightning.ablation.engine.pairing import Ablations, measure
from llc_lightning.ablation.engine.place import Kind, Place, kind_of
from llc_lightning.ablation.engine.repeats import warn_of_repeats
from llc_lightning.ablation.engine.replacing import Replacing, Source, at_places, by_side
from llc_lightning.ablation.engine.unread import check_read
from llc_lightning.ablation.engine.weights import WeightReader
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners, chunks, for_params, n_examples
from llc_lightning.runtime.errors import SettingError, at_least, unless_none
from llc_lightning.runtime.progress import silent
from llc_lightning.runtime.status import join

ACCOUNTED = 1 << 25
"""Effects of components on examples and losses that are accounted for at a time, each with two numbers."""


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
    counterfactual: Batch | Examples | None = None,
    given: Mapping[str, Tensor] | None = None,
    answers: Batch | None = None,
    mask: str = "",
    per_example: bool = False,
    chunk: int | None = None,
    block: int | None = None,
    warm: Mapping[str, tuple[Tensor, ...]] | None = None,
    done: Callable[[int], object] | None = None,
) -> Effects:
    """Returns the unablated losses, then the effect of every component under every method on every loss, in this order.

    An effect is the mean over examples of ``mean over draws of L_i(ablated) - L_i``, with another activation in the
    component's place, or with edited weights. Components of one hook point share
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
        components: Parts with the sides that the methods ablate: an activation, of any hook point, or weights.
        methods: Ablation methods, by name and options or as objects.
        seed: The run's seed; donors and noise are keyed by it and by the draw alone.
        tasks: Whether to measure on every task of the module as well.
        metrics: What else to measure: ``kl``, ``accuracy``, ``logit_difference`` with their options, or objects; on
            the loss ``metric:NAME``.
        counterfactual: The examples' partners, for the method ``counterfactual``, or what is known of them already; by
            default those that the module's ``counterfactual(batch)`` gives.
        given: Activations by hook point, for the method ``counterfactual`` to put in instead of a partner's.
        answers: The examples whose outputs and entries the metrics compare with, where ``data`` are their corruptions.
        mask: Which positions count: an entry of the examples that is true there, such as ``attention_mask`` or ``1``,
            or ``NAME!=NUMBER``; by default what the module's ``mask(batch)`` says, where it has one, else all. The
            others are never replaced, and enter no mean, donor, constant or metric; the loss is the module's own.
        per_example: Whether to keep the values of every example (on ``train`` and of metrics).
        chunk: Ablations per forward pass; without it as many as fit a CPU's cache or a small part of a GPU's memory.
        block: Examples per forward pass, a power of two; changes the last bits.
        warm: Constants of earlier effects for fitted methods to start from as well, by component and method
            (:func:`~llc_lightning.ablation.engine.effect.warm_start`).
        done: Called with how many effects more are measured, for a progress bar; the total is components x methods.

    Raises:
        SettingError: If a method, metric, ``chunk`` or ``block`` is not allowed, or the module lacks the tasks asked
        for.
        AddressError: If there is no component, or one lacks the side that a method ablates, is not found in the
            activations, or nothing reads it.
        DataError: If the data, or the shapes of the module's losses and activations, cannot be used.
    """
    chosen, measured = resolve_methods(methods), resolve_metrics(metrics)
    replacing, editing = by_side(chosen)
    at_least(1, **unless_none(chunk=chunk))
    if tasks and not loss.task_names:
        raise SettingError(
            "the module has no tasks; give it task_names and per_task_loss, or measure with tasks=False."
        )
    check_components(components, chosen)
    check_mask(mask)
    n_examples(data)
    partners = counterfactual
    if partners is not None and not isinstance(partners, Examples):
        check_partners(partners, data, what="counterfactual partners")
        partners = for_params(partners, params)
    if answers is not None:
        check_partners(answers, data, what="answers")
    plain = loss.with_edits(())
    reads = Mask.of(plain, params, mask)
    if reads is None and (measured or any(entry_of(method).facts.needs_reference for method in replacing)):
        warn_of_padding(data)
    warn_of_repeats(data, counterfactual.blocks.data if isinstance(counterfactual, Examples) else counterfactual)
    names = ("train", *(loss.task_names if tasks else ()), *(f"metric:{metric.name}" for metric in measured))
    with torch.no_grad():
        examples = Examples(
            plain,
            params,
            Blocks.of(for_params(data, params), block),
            names,
            metrics=measured,
            points=[member.point for component in components for member in component.members] if replacing else [],
            partners=partners,
            given=given,
            answers=None if answers is None else for_params(answers, params),
            mask=reads,
            keep=per_example,
            recorded=True,
        )
        measurement = Measurement(examples, per_example, chunk, seed, _Told(done))
        effects = measurement.edited(components, editing, WeightReader(loss.module, params)) if editing else {}
        if replacing:
            effects |= measurement.replaced(components, replacing, dict(warm or {}))
            check_read(plain, params, examples.blocks.batches[0], _silent(components, replacing, effects))
    ablated = (_outcomes(component, chosen, effects) for component in components)
    return Effects([examples.outcome, *chain.from_iterable(ablated)])


Found: TypeAlias = dict[tuple[str, str], list[Outcome]]
"""The effects of an ablation on every loss, by the component's address and the method's name."""


def _outcomes(component: Component, methods: Sequence[Method], effects: Found) -> list[Outcome]:
    """Returns a component's effects, method by method."""
    return [outcome for method in methods for outcome in effects[component.address, method.name]]


def _numbers(component: Component, methods: Sequence[Method], effects: Found, *names: str) -> Iterator[tuple[Any, ...]]:
    """Yields some fields of a component's effects."""
    for outcome in _outcomes(component, methods, effects):
        yield from zip(*(outcome.columns[name] for name in names), strict=True)


def _silent(components: Sequence[Component], methods: Sequence[Method], effects: Found) -> list[str]:
    """Returns the hook points of components that have no effect by any of the methods, where none there has one."""
    silent: list[str] = []
    heard: set[str] = set()
    for component in components:
        # The error of one example is NaN.
        numbers = _numbers(component, methods, effects, "value", "stderr")
        if all(value == 0 and not stderr > 0 for value, stderr in numbers):
            silent += [member.point for member in component.members]
        elif len(component.members) == 1:
            heard.add(component.point)
    return [point for point in dict.fromkeys(silent) if point not in heard]


class _Told:
    """Tells a progress bar of effects that are measured, which go by parts of one, in whole numbers."""

    def __init__(self, done: Callable[[int], object] | None) -> None:
        self._done, self._measured, self._told = done or silent, 0.0, 0

    def __call__(self, effects: float) -> None:
        """Counts some more, or a part of one."""
        self._measured += effects
        whole = int(self._measured + 1e-6)  # thirds do not sum to one
        if whole > self._told:
            self._done(whole - self._told)
            self._told = whole


@dataclass(frozen=True)
class Measurement:
    """What the ablations of a sweep have in common."""

    examples: Examples
    keep: bool
    chunk: int | None
    seed: int
    told: Callable[[float], object] = field(default_factory=lambda: _Told(None))
    """Told of how many effects more are measured, also of parts of one."""

    def replaced(
        self, components: Sequence[Component], methods: Sequence[Method], warm: Mapping[str, tuple[Tensor, ...]]
    ) -> Found:
        """Returns the effects of replacing the activations of components."""
        effects = self._replaced(components, methods, warm, few=True)
        # A difference cannot heal what is not finite without it; a replaced activation can.
        broken = [
            component
            for component in components
            if any(n and math.isnan(value) for n, value in _numbers(component, methods, effects, "n", "value"))
            and any(kind[2] for kind in self._kinds(component, few=True))
        ]
        return effects | self._replaced(broken, methods, warm, few=False)

    def edited(self, components: Sequence[Component], methods: Sequence[WeightMethod], reader: WeightReader) -> Found:
        """Returns the effects of editing the weights of components; those of the same parameters share passes."""
        groups: dict[frozenset[str], list[Component]] = {}
        for component in components if methods else ():
            groups.setdefault(frozenset(one.parameter for one in component.weights), []).append(component)
        effects: Found = {}
        for group in groups.values():
            weights = [reader.weights(component) for component in group]
            lanes = self.lanes(in_weights)
            effects |= self.effects(Editing(lanes, methods, group, weights, self.examples, self.chunk, self.seed))
        return effects

    def _replaced(
        self,
        components: Sequence[Component],
        methods: Sequence[Method],
        warm: Mapping[str, tuple[Tensor, ...]],
        *,
        few: bool,
    ) -> Found:
        """Returns the effects of replacing activations; those of the same kind share passes."""
        groups: dict[tuple[Kind, ...], list[Component]] = {}
        for component in components:
            groups.setdefault(self._kinds(component, few=few), []).append(component)
        effects: Found = {}
        most = max(1, ACCOUNTED // (self.examples.blocks.n * len(self.examples.names)))
        for together in (group[some] for group in groups.values() for some in chunks(len(group), most)):
            members = list(zip(*(component.members for component in together), strict=True))
            places = tuple(Place.of(some, self.examples.first[some[0].point], few=few) for some in members)
            lanes = self.lanes(at_places(places, self.examples))
            effects |= self.effects(
                Replacing(lanes, methods, together, places, self.examples, self.chunk, self.seed, warm)
            )
        return effects

    def _kinds(self, component: Component, *, few: bool) -> tuple[Kind, ...]:
        return tuple(kind_of(member, self.examples.first[member.point], few=few) for member in component.members)

    def lanes(self, ablation: Ablation) -> Lanes:
        """Returns what runs lanes of a sort on these examples."""
        given = self.examples
        return Lanes(
            given.loss,
            given.params,
            ablation,
            with_tasks=given.with_tasks,
            metrics=given.metrics,
            mask=given.mask,
            run=given.run,
        )

    def effects(self, ablations: Ablations) -> Found:
        """Returns the effects of some ablations; on each loss those of the source that is for it."""
        sources: Sequence[Source] = ablations.sources
        of_all = len(ablations.components) * len({source.method.name for source in sources})
        summaries = measure(ablations, keep=self.keep, done=lambda share: self.told(of_all * share))
        found: dict[tuple[str, str], dict[int, Outcome]] = {}
        for source, summary in zip(sources, summaries, strict=True):
            for outcome in summary.effects(_series(ablations, source), doubted=True):
                some = {0: outcome} if source.losses is None else {one: outcome.at([one]) for one in source.losses}
                known = found.setdefault((outcome.common.component, source.method.name), {})
                known.update((number, _judged(one, source)) for number, one in some.items())
        return {key: [known[number] for number in sorted(known)] for key, known in found.items()}


def _series(ablations: Ablations, source: Source) -> Iterator[Effect]:
    """Yields for every component what is known of its effects before they are measured."""
    method = source.method
    common = Effect("ablation_effect", method=method.name, draws=method.draws, vmapped=ablations.lanes.vmapped)
    for number, component in enumerate(ablations.components):
        fitted: dict[str, Any] = {}
        if source.constants:
            constants = tuple(values[number] for values in source.constants)
            fitted = {"details": source.details[number], "constants": constants}
        yield common.changed(component=component.address, kind=component.kind, **fitted)


def _judged(outcome: Outcome, source: Source) -> Outcome:
    """Returns effects with what their own method says against them."""
    method = source.method
    if type(method).reasons is Method.reasons:  # it says nothing, and thousands of effects need not be made
        return outcome
    said = [join([*one.status.split("+"), *method.reasons(one, source.seen)]) for one in outcome.effects]
    return replace(outcome, columns={**outcome.columns, "status": said})
