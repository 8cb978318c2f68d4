"""The batched sweep: the effect of every component under every method, paired example by example."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from llc_lightning.ablation.base import Method, resolve_methods
from llc_lightning.ablation.blocks import Blocks
from llc_lightning.ablation.effect import Effect, Summary
from llc_lightning.ablation.lanes import Lanes, losses_of
from llc_lightning.ablation.moments import Counted
from llc_lightning.ablation.point import ablate_point
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import to_device
from llc_lightning.runtime.errors import AddressError, SettingError
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
    per_example: bool = False,
    chunk: int | None = None,
    block: int | None = None,
) -> list[Effect]:
    """Returns the unablated losses, then the effect of every component under every method on every loss, in this order.

    An effect is the mean over examples of ``mean over draws of L_i(ablated) - L_i``. Components of one hook point share
    the replacement values, and donors and noise are the same at every hook point, so that differences between
    components have small errors. In a difference the unablated loss comes from the same forward pass, with nothing
    replaced: an ablation that changes no activation has an effect of exactly 0.

    On a CPU every effect has the same bits alone and beside others, whatever ``chunk`` is, at one and at two threads
    (:class:`Blocks` says why; with more threads only where a module's elementwise functions round alike in a
    vector and alone, as relu, tanh and softmax do and sigmoid does not).

    Hook points come one after the other. In memory are the activations of one point on all examples, where a method
    looks at them, and one forward pass of ``chunk`` times ``block`` examples.

    Args:
        loss: The module's loss; edits that it holds are dropped.
        params: The weights to measure at.
        data: The examples.
        components: Parts with an activation side, of any hook points.
        methods: Ablation methods, by name or as objects with settings.
        seed: The run's seed; donors and noise are keyed by it and by the draw alone.
        tasks: Whether to measure on every task of the module as well.
        per_example: Whether to keep the values of every example (on ``train``).
        chunk: Ablations per forward pass; without it as many as fit a CPU's cache or a small part of a GPU's memory.
        block: Examples per forward pass, a power of two; changes the last bits.

    Raises:
        SettingError: If a method, ``chunk`` or ``block`` is not allowed, or the module lacks the tasks asked for.
        AddressError: If a component has no activation side, or is not found in the activations.
        DataError: If the data, or the shapes of the module's losses and activations, cannot be used.
    """
    chosen = resolve_methods(methods)
    if chunk is not None and chunk < 1:
        raise SettingError(f"chunk is {chunk}; give at least 1 ablation per forward pass.")
    if tasks and not loss.task_names:
        raise SettingError(
            "the module has no tasks; give it task_names and per_task_loss, or measure with tasks=False."
        )
    by_point: dict[str, list[Component]] = {}
    for component in components:
        if not component.point:
            raise AddressError(
                f"{component.address!r} has weights alone and cannot be ablated; choose layers, neurons or other units."
            )
        by_point.setdefault(component.point, []).append(component)
    plain = loss.with_edits(())
    names = ("train", *(loss.task_names if tasks else ()))
    found: dict[str, list[Effect]] = {}
    with torch.no_grad():
        blocks = Blocks.of(to_device(data, _device(params)), block)
        counted, rows = _unablated(plain, params, blocks, names, keep=per_example)
        for point, parts in by_point.items():
            lanes = Lanes(plain, params, point, with_tasks=tasks)
            summaries = [Summary(names, n=blocks.n, keep=per_example) for _ in chosen]
            ablate_point(lanes, parts, chosen, summaries, blocks=blocks, counted=counted, seed=seed, chunk=chunk)
            for method, summary in zip(chosen, summaries, strict=True):
                likes = [
                    Effect("ablation_effect", part.address, part.kind, method.name, method.draws, lanes.vmapped)
                    for part in parts
                ]
                for part, effects in zip(parts, summary.effects(likes), strict=True):
                    found.setdefault(part.address, []).extend(effects)
    return rows + [effect for component in components for effect in found[component.address]]


def _unablated(
    loss: ModuleLoss, params: Params, blocks: Blocks, names: Sequence[str], *, keep: bool
) -> tuple[list[tuple[Counted, ...]], list[Effect]]:
    """Returns for every block which rows count for which loss, and the unablated losses.

    They come from a pass of their own, so that they do not depend on what is ablated beside them.
    """
    summary = Summary(names, n=blocks.n, keep=keep)
    counted: list[tuple[Counted, ...]] = []
    for block in range(len(blocks)):
        losses, counts = losses_of(loss, params, blocks.batch(block), len(names) > 1)
        real = blocks.real(block).to(losses[0].device)[:, None]
        masks = (real,) if counts is None else (real, real & counts)
        counted.append(tuple(Counted.of(mask) for mask in masks))
        summary.add([count.pack(values[None]) for count, values in zip(counted[-1], losses, strict=True)], counted[-1])
    return counted, next(summary.effects([Effect("loss")]))


def _device(params: Params) -> torch.device:
    return next((tensor.device for tensor in params.values()), torch.device("cpu"))
