"""All ablations at one hook point: the plan of its lanes, and the differences that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.base import Method, entry_of
from llc_lightning.ablation.blocks import Blocks
from llc_lightning.ablation.effect import Summary
from llc_lightning.ablation.lanes import Lanes, Losses
from llc_lightning.ablation.moments import Counted
from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import AddressError, DataError, SettingError

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 19, 1 << 26
"""Numbers that the lanes of one pass may hold at the hook point: a CPU's cache, a small part of a GPU's memory."""


@dataclass(frozen=True)
class _Run:
    """Lanes of one pass that share a method and a draw and follow each other: a range of components."""

    method: int
    draw: int
    lanes: slice
    parts: slice


@dataclass(frozen=True)
class _Pass:
    """The lanes of one forward pass: which mask, which replacement value, and what they are."""

    masks: Bool[Tensor, "lane ..."]
    values: Int[Tensor, "lane"]
    runs: tuple[_Run, ...]


def ablate_point(
    lanes: Lanes,
    parts: Sequence[Component],
    methods: Sequence[Method],
    summaries: Sequence[Summary],
    *,
    blocks: Blocks,
    counted: Sequence[Sequence[Counted]],
    seed: int,
    chunk: int | None,
) -> None:
    """Adds the differences that all methods make on all components of one hook point to one summary per method.

    Args:
        lanes: The forward pass at the hook point.
        parts: The point's components; the series of a summary.
        methods: The methods; all see the same activations.
        summaries: Where the differences go.
        blocks: The examples.
        counted: For every block, which rows count for the loss and, where tasks are measured, for each task.
        seed: The run's seed.
        chunk: Ablations per forward pass, or None to choose.
    """
    activation, reference = _reference(lanes, methods, blocks)
    masks = torch.stack([torch.zeros_like(_mask(parts[0], activation)), *(_mask(part, activation) for part in parts)])
    draws = [method.draws for method in methods]
    passes = _plan(masks, draws, chunk or _fitting(activation, blocks.size))
    shape = (blocks.size, *activation.shape)
    streams = [method.values(reference, blocks.rows, seed=seed) for method in methods]
    for block, counts in enumerate(counted):
        batch = blocks.batch(block)
        values = torch.cat(
            [_checked(method, next(stream), reference, shape) for method, stream in zip(methods, streams, strict=True)]
        )
        calls = len(passes) * len(blocks)
        outputs = (lanes(batch, one.masks, values.index_select(0, one.values), calls=calls) for one in passes)
        for method, differences in _differences(passes, outputs, counts, draws, len(parts)):
            summaries[method].add(differences, counts)


def _reference(lanes: Lanes, methods: Sequence[Method], blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Returns one example's activation, and those of all examples if a method needs them (else that one again)."""
    found: list[Tensor] = []
    for block in range(len(blocks)):
        values = lanes.loss.activations(lanes.params, blocks.batch(block), [lanes.point])[lanes.point]
        if values.ndim < 2 or len(values) != blocks.size or not values.is_floating_point():
            raise DataError(
                f"the activation at {lanes.point!r} has shape {tuple(values.shape)} and type {values.dtype} on "
                f"{blocks.size} examples; an ablation needs floating point numbers of shape [example, ..., unit]."
            )
        if not any(entry_of(method).metadata["needs_reference"] for method in methods):
            return values[0], values[:1]
        found.append(values[: blocks.n - block * blocks.size])
    return found[0][0], torch.cat(found)


def _mask(part: Component, activation: Tensor) -> Bool[Tensor, "..."]:
    try:
        return part.unit_mask(activation)
    except IndexError:
        raise AddressError(
            f"{part.address!r} is outside the activation of {part.point!r}, which has shape {tuple(activation.shape)} "
            f"per example with its units on axis {part.unit_axis}."
        ) from None


def _fitting(activation: Tensor, rows: int) -> int:
    numbers = _CPU_NUMBERS if activation.device.type == "cpu" else _GPU_NUMBERS
    return max(1, numbers // (rows * activation.numel()))


def _plan(masks: Tensor, draws: Sequence[int], most: int) -> tuple[_Pass, ...]:
    """Returns passes of equal size, ``most`` lanes at most: nothing replaced, then every component for every draw."""
    parts = len(masks) - 1
    kinds = [(method, draw) for method, count in enumerate(draws) for draw in range(count)]
    total = 1 + parts * len(kinds)
    count = -(-total // most)
    size = -(-total // count)
    lane = torch.arange(count * size).clamp_max(total - 1)
    which_mask = torch.where(lane > 0, (lane - 1) % parts + 1, 0).to(masks.device)
    which_value = ((lane - 1).clamp_min(0) // parts).to(masks.device)
    passes: list[_Pass] = []
    for start in range(0, count * size, size):
        runs: list[_Run] = []
        at, stop = max(start, 1), min(start + size, total)
        while at < stop:
            kind, first = divmod(at - 1, parts)
            length = min(parts - first, stop - at)
            runs.append(_Run(*kinds[kind], slice(at - start, at - start + length), slice(first, first + length)))
            at += length
        here = slice(start, start + size)
        passes.append(_Pass(masks[which_mask[here]], which_value[here], tuple(runs)))
    return tuple(passes)


def _checked(
    method: Method, values: Tensor, reference: Tensor, shape: tuple[int, ...]
) -> Float[Tensor, "draw row *unit"]:
    """Returns a method's values with one row per example.

    Raises:
        SettingError: If their shape or type does not fit the activation.
    """
    allowed = [(method.draws, rows, *shape[1:]) for rows in (1, shape[0])]
    if tuple(values.shape) not in allowed or values.dtype != reference.dtype:
        raise SettingError(
            f"the ablation method {method.name!r} gave values of shape {tuple(values.shape)} and type {values.dtype}; "
            f"for these activations it must give {allowed[1]} or {allowed[0]} and {reference.dtype}."
        )
    return values.expand(method.draws, *shape)


def _differences(
    passes: Sequence[_Pass],
    outputs: Iterator[Losses],
    counted: Sequence[Counted],
    draws: Sequence[int],
    parts: int,
) -> Iterator[tuple[int, list[Float[Tensor, "component packed task"]]]]:
    """Yields, method by method, the paired differences of one block, averaged over draws in the order of the draws."""
    unablated: list[Tensor] = []
    sums: list[Tensor] = []
    for step, losses in zip(passes, outputs, strict=True):
        full = [
            count.pack(values).to(torch.promote_types(values.dtype, torch.float32))
            for count, values in zip(counted, losses, strict=True)
        ]
        if not unablated:
            unablated = [values[0] for values in full]
            sums = [values.new_zeros(parts, *values.shape[1:]) for values in full]
        for run in step.runs:
            for total, values, base in zip(sums, full, unablated, strict=True):
                difference = values[run.lanes] - base
                if run.draw == 0:
                    total[run.parts] = difference
                else:
                    total[run.parts] += difference
            if run.draw == draws[run.method] - 1 and run.parts.stop == parts:
                yield run.method, [total / draws[run.method] for total in sums]
