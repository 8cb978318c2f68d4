"""Many ablations in one forward pass: a lane is one of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from llc_lightning.ablation.engine.mask import Mask, spread
from llc_lightning.ablation.engine.place import ReplacementAt
from llc_lightning.ablation.metrics import Metric, outputs_of
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.components.skeleton import Skeleton
from llc_lightning.runtime.batches import Batch, Params, n_examples
from llc_lightning.runtime.errors import DataError
from llc_lightning.runtime.graph_split import SplitGraph

Losses: TypeAlias = tuple[Tensor, ...]
"""The loss [.., row, 1] and, where asked for, the losses by task [.., row, task] and the metrics [.., row, metric]."""

Lane: TypeAlias = tuple[dict[str, Tensor], ...]
"""The tensors that one ablation puts in, or those of several with a leading axis."""

_Fixed: TypeAlias = tuple[Params, Batch, tuple[Tensor, ...], Tensor | None, tuple[Batch, Tensor | None] | None]
"""Weights, examples, unablated outputs, which positions count where not all do, and what metrics read elsewhere."""

_REFUSED = (RuntimeError, ValueError, TypeError)
"""What vmap and graphs raise on a module that they do not hold for; what is wrong itself is raised without them."""
_WORTH_TRACING = 32
"""Calls of a loss, in one sweep or several, from which on tracing pays."""

_GRAPHS: WeakKeyDictionary[Skeleton, dict[Any, SplitGraph | None]] = WeakKeyDictionary()
"""What was traced of a loss, so that sweeping it again costs no tracing; None where it failed when it was called."""

_CALLS: WeakKeyDictionary[Skeleton, dict[Any, int]] = WeakKeyDictionary()
"""How often a loss was called so far."""


Ablation: TypeAlias = Callable[[ModuleLoss, Params, Lane, Tensor | None], tuple[ModuleLoss, Params]]
"""What lanes change: returns the loss and the weights of one lane, given which positions count where not all do. What
was traced of one holds for an equal one."""


@dataclass(frozen=True)
class AtPoints:
    """A lane holds a replacement for each of some hook points, given with the axes of their units."""

    points: tuple[tuple[str, int], ...]
    positions: tuple[tuple[int, ...], ...] = ()
    """For each point the axes of the positions that a mask is about, counted from the end; none without a mask."""

    def __call__(self, loss: ModuleLoss, params: Params, lane: Lane, real: Tensor | None) -> tuple[ModuleLoss, Params]:
        """Returns the loss with the replacements, at positions that count."""
        if real is not None:
            axes = (axis for _, axis in self.points)
            lane = tuple(map(partial(_where_real, real), lane, axes, self.positions))
        changes = [ReplacementAt(point, axis, what) for (point, axis), what in zip(self.points, lane, strict=True)]
        return loss.with_edits(changes), params


def _where_real(real: Tensor, what: dict[str, Tensor], unit_axis: int, axes: tuple[int, ...]) -> dict[str, Tensor]:
    """Returns a replacement of what counts alone."""
    counting = spread(real, axes, what["where"].ndim)
    if counting is None:
        return what
    if "units" in what and unit_axis in axes:  # units that are keys of attention: where all of them count
        counting = counting.movedim(unit_axis, 0)[what["units"]].all(0, keepdim=True).movedim(0, unit_axis)
    return {**what, "where": what["where"] & counting}


def in_weights(loss: ModuleLoss, params: Params, lane: Lane, real: Tensor | None) -> tuple[ModuleLoss, Params]:
    """Returns the weights with the edited ones among them: a lane holds edited parameters by name."""
    return loss, {**params, **lane[0]}


class Lanes:
    """Runs lanes in one forward pass under ``torch.vmap``.

    What lies before the first change does not depend on the lane and is computed once per pass; once the forward
    pass is traced into a graph, once per batch. A module that vmap refuses (control flow that depends on activations)
    runs lane by lane on the same values: ``vmapped`` is then False.

    Args:
        loss: The module's loss.
        params: The weights.
        ablation: What lanes change.
        with_tasks: Whether to measure on every task as well.
        metrics: What else to measure.
        mask: Says which positions count; None where all do.
    """

    def __init__(
        self,
        loss: ModuleLoss,
        params: Params,
        ablation: Ablation,
        *,
        with_tasks: bool,
        metrics: Sequence[Metric] = (),
        mask: Mask | None = None,
    ) -> None:
        self.mask = mask
        self.loss = loss
        self.params = params
        self.ablation = ablation
        self.vmapped = True
        self._with_tasks = with_tasks
        self.metrics = tuple(metrics)
        self._graphs: dict[Any, SplitGraph | None] = {}
        self._prepared: tuple[object, object, tuple[Tensor, ...]] | None = None
        self._known: tuple[Batch, Batch | None, Tensor | None, tuple[Batch, Tensor | None] | None] | None = None

    def __call__(
        self,
        batch: Batch,
        lanes: Sequence[Mapping[str, Tensor]],
        *,
        clean: tuple[Tensor, ...] = (),
        answers: Batch | None = None,
        calls: int = 1,
    ) -> Losses:
        """Returns the losses of every lane.

        Args:
            batch: The examples of all lanes.
            lanes: What the ablation asks of a lane, with a leading axis of lanes.
            clean: The unablated outputs that the metrics compare with.
            answers: The examples whose entries the metrics read, where they are others.
            calls: How many calls on the same shapes are to come, so that preparing for them can pay.
        """
        varying = tuple({name: _laid_out(values) for name, values in what.items()} for what in lanes)
        # The examples are the same object from pass to pass, and another one for the next block.
        if self._known is None or self._known[0] is not batch or self._known[1] is not answers:
            told = None if answers is None else (answers, self._counting(answers))
            self._known = (batch, answers, self._counting(batch), told)
        fixed = (self.params, batch, clean, *self._known[2:])
        if not self.vmapped:
            return self._one_by_one(fixed, varying)
        # Values may be one for all examples, and then do not tell how many these are.
        shapes = (n_examples(batch), *(values.shape for values in tree_leaves(varying)))
        if shapes not in self._graphs:
            self._graphs[shapes] = self._traced(calls, fixed, varying)
        graph = self._graphs[shapes]
        if graph is None:
            return self._plain(fixed, varying)
        try:
            if self._prepared is None or self._prepared[0] is not batch or self._prepared[1] is not graph:
                with torch.no_grad():
                    self._prepared = (batch, graph, graph.prepare(fixed))
            return graph(self._prepared[2], [tensor for what in varying for tensor in what.values()])
        except _REFUSED:  # a graph may fail only when it is called, as by strides that its trace did not have
            self._graphs[shapes] = _GRAPHS[self.loss.skeleton][self._key(fixed, varying)] = None
            return self._plain(fixed, varying)

    def _counting(self, batch: Batch) -> Tensor | None:
        return None if self.mask is None else self.mask(batch)

    def _traced(self, calls: int, fixed: _Fixed, varying: Lane) -> SplitGraph | None:
        graphs, key = _GRAPHS.setdefault(self.loss.skeleton, {}), self._key(fixed, varying)
        if self.loss.edits:
            return None
        # Callbacks sweep the same loss again and again: a graph that pays over all of their calls is worth tracing.
        counts = _CALLS.setdefault(self.loss.skeleton, {})
        counts[key] = counts.get(key, 0) + calls
        if key in graphs or counts[key] < _WORTH_TRACING:
            return graphs.get(key)
        try:
            with torch.no_grad():
                graphs[key] = SplitGraph(self._batched, fixed, varying)
        except Exception:  # tracing is for speed alone, and fails in many ways
            return None
        return graphs[key]

    def _key(self, fixed: _Fixed, varying: Lane) -> object:
        """Returns what a graph holds for."""
        return self.ablation, self._with_tasks, self.metrics, str(tree_map(_shape, (fixed, varying)))

    def _plain(self, fixed: _Fixed, varying: Lane) -> Losses:
        try:
            return self._batched(fixed, varying)
        except _REFUSED:
            # What is wrong with the module itself is raised again here, without vmap around it.
            losses = self._one_by_one(fixed, varying)
            self.vmapped = False
        return losses

    def _batched(self, fixed: _Fixed, varying: Lane) -> Losses:
        with sdpa_kernel(SDPBackend.MATH):  # vmap runs the fused kernels lane by lane, and warns
            return torch.vmap(self._one, in_dims=(None, 0))(fixed, varying)

    def _one_by_one(self, fixed: _Fixed, varying: Lane) -> Losses:
        count = len(tree_leaves(varying)[0])
        alone = [tuple({name: what[name][i] for name in what} for what in varying) for i in range(count)]
        lanes = [self._one(fixed, lane) for lane in alone]
        return tuple(torch.stack(losses) for losses in zip(*lanes, strict=True))

    def _one(self, fixed: _Fixed, varying: Lane) -> Losses:
        params, batch, clean, real, told = fixed
        loss, params = self.ablation(self.loss, params, varying, real)
        forward = losses_of(loss, params, batch, self._with_tasks, self.metrics)
        losses = forward.losses
        if not self.metrics:
            return losses
        pairs = zip(self.metrics, forward.outputs, clean, strict=True)
        batch, real = told or (batch, real)
        return (*losses, torch.stack([metric(after, before, batch, real) for metric, after, before in pairs], dim=-1))


class ForwardPass(NamedTuple):
    """What one forward pass tells: losses, which of those by task count, the metrics' outputs, and activations."""

    losses: Losses
    counted: Tensor | None
    outputs: tuple[Tensor, ...]
    caught: dict[str, Tensor]


def losses_of(
    loss: ModuleLoss,
    params: Params,
    batch: Batch,
    with_tasks: bool,
    metrics: Sequence[Metric] = (),
    points: Sequence[str] = (),
) -> ForwardPass:
    """Returns the loss and the losses by task on a batch, and what was asked for of the activations.

    Raises:
        DataError: If the module's losses by task have another shape than its task names and its loss ask for.
    """
    watched = [*points, *(metric.output for metric in metrics if metric.output)]
    if watched:
        total, caught = loss.watched(params, batch, list(dict.fromkeys(watched)))
    else:
        total, caught = loss(params, batch), {}
    outputs = outputs_of(loss, params, batch, metrics, caught)
    total = total[:, None]
    if not with_tasks:
        return ForwardPass((total,), None, outputs, caught)
    by_task, counted = loss.per_task(params, batch)
    expected = (total.shape[0], len(loss.task_names))
    if tuple(by_task.shape) != expected or tuple(counted.shape) != expected:
        raise DataError(
            f"per_task_loss returned losses of shape {tuple(by_task.shape)} and counted of shape {tuple(counted.shape)}"
            f"; both must be [example, task], here {expected}."
        )
    return ForwardPass((total, by_task), counted, outputs, caught)


def _laid_out(values: Tensor) -> Tensor:
    """Returns values in the one layout in memory that a graph holds for.

    An axis of one entry may have any stride and be contiguous: a copy has that of the layout.
    """
    values = values.contiguous()
    standard = tuple(prod(values.shape[at + 1 :]) for at in range(values.ndim))
    return values if values.stride() == standard else values.clone(memory_format=torch.contiguous_format)


def _shape(value: object) -> object:
    return (tuple(value.shape), value.dtype, str(value.device)) if isinstance(value, Tensor) else value
