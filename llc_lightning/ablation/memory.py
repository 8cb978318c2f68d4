"""How much memory a table of ablation effects takes, told before it is made."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from llc_lightning.ablation.engine.base import Method, resolve_methods
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.editing import EDITED_LANES
from llc_lightning.ablation.engine.examples import KEPT
from llc_lightning.ablation.engine.lanes import losses_of
from llc_lightning.ablation.engine.replacing import by_side, lanes_at_once
from llc_lightning.ablation.engine.sweep import ACCOUNTED
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.components.component import Component
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.components.measurable import find_measurable
from llc_lightning.runtime.batches import Batch, Params, for_params

_TOGETHER = 1.5
"""How many times as much lanes hold as so many unablated passes: values, and activations before they are replaced."""
_PROBES = 2
"""Draws of a method's own that tell how its constant depends on the examples, at most."""


def effects_memory(
    module: nn.Module,
    batch: Batch,
    components: str | Component | Sequence[str | Component] = "neurons",
    methods: str | Method | Sequence[str | Method] = ("zero",),
    *,
    metrics: str | Metric | Sequence[str | Metric] = (),
    resamples: int = 0,
    chunk: int | None = None,
) -> int:
    """Returns how many bytes of tensors ``ablation_effects`` of these arguments holds at most, beside module and batch.

    It is the sum of what is held at once: the activations that methods look at (of all hook points where they are few,
    else of one); the lanes of one forward pass, each as large as an unablated pass over one block of examples, which is
    run; the methods' values for the block; and the numbers for every component, example and loss that standard errors
    and resamples take. It is an upper bound, several times the peak where most of a network lies ahead of what is
    ablated. The searches of ``optimal`` keep activations for gradients, which are not counted.

    Args:
        module: The module.
        batch: The examples.
        components: What is ablated, as in ``ablation_effects``.
        methods: How.
        metrics: What else is measured.
        resamples: Of intervals and p-values.
        chunk: Ablations per forward pass.

    Raises:
        LLCLightningError: If an argument names nothing or cannot be used.
    """
    chosen, measured = resolve_methods(methods), resolve_metrics(metrics)
    replacing, editing = by_side(chosen)
    loss, params = loss_fn(module), snapshot_params(module)
    parts = find_measurable(module, components, batch, activation=bool(replacing), weights=bool(editing))
    blocks = Blocks.of(for_params(batch, params))
    points = list(dict.fromkeys(member.point for part in parts for member in part.members)) if replacing else []
    with torch.no_grad(), Live() as live:
        caught = losses_of(loss, params, blocks.batches[0], bool(loss.task_names), measured, points).caught
    sizes = [values[0].numel() for values in caught.values()]
    number, losses = (
        max([4, *(tensor.itemsize for tensor in params.values())]),
        1 + len(loss.task_names) + len(measured),
    )
    draws = sum(method.draws + _PROBES for method in chosen)
    total = 3 * number * blocks.n * (sum(sizes) if blocks.n * sum(sizes) <= KEPT else max(sizes, default=0))
    lanes = [_lanes(blocks, size, 1 + len(parts) * draws, chunk, params) for size in sizes]
    lanes += [max(EDITED_LANES, chunk or 0)] if editing else []
    total += int(_TOGETHER * live.peak * max(lanes))
    total += max(lanes) * sum(tensor.nbytes for tensor in params.values()) if editing else 0
    total += 2 * number * draws * blocks.size * max(sizes, default=0)
    accounted = min(len(parts), max(1, ACCOUNTED // (blocks.n * losses)))
    total += 6 * number * accounted * blocks.n * losses * len(chosen)
    kept = 24 * len(parts) * len(chosen) * blocks.n * (1 + len(measured))
    return total + (kept + 8 * resamples * blocks.n if resamples else 0)


def _lanes(blocks: Blocks, size: int, total: int, chunk: int | None, params: Params) -> int:
    """Returns the lanes of a pass at a hook point, at most."""
    device = next((tensor.device for tensor in params.values()), torch.device("cpu"))
    most = min(total, chunk or lanes_at_once(blocks.size * size, device))
    return -(-most // blocks.together) * blocks.together


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are made and not yet given back."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.bytes = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Does an operation, and counts what it made."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        place = storage._cdata  # pyright: ignore[reportPrivateUsage]
        if place not in self._seen:
            self._seen.add(place)
            self.bytes += storage.nbytes()
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._freed, place, storage.nbytes())

    def _freed(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self.bytes -= size
