"""Many ablations in one forward pass: a lane is one of them."""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from llc_lightning.ablation.engine.blocks import lanes_together
from llc_lightning.ablation.engine.mask import Mask, spread
from llc_lightning.ablation.engine.place import ReplacementAt
from llc_lightning.ablation.metrics import Metric, outputs_of
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, n_examples
from llc_lightning.runtime.errors import DataError
from llc_lightning.runtime.replay import OtherNumbersError, Replay
from llc_lightning.runtime.signals import stop_if_asked
from llc_lightning.runtime.tape import record

Losses: TypeAlias = tuple[Tensor, ...]
"""The loss [.., row, 1] and, where asked for, the losses by task [.., row, task] and the metrics [.., row, metric]."""

Lane: TypeAlias = tuple[dict[str, Tensor], ...]
"""The tensors that one ablation puts in, or those of several with a leading axis."""

_Fixed: TypeAlias = tuple[Params, Batch, tuple[Tensor, ...], Tensor | None, tuple[Batch, Tensor | None] | None]
"""Weights, examples, unablated outputs, which positions count where not all do, and what metrics read elsewhere."""

REFUSED = (RuntimeError, ValueError, TypeError)
"""What vmap and replays raise on a module that they do not hold for; what is wrong itself is raised without them."""
_MOST = 256
"""Replays that are kept in the process."""

_KEPT: OrderedDict[Any, Replay | None] = OrderedDict()
"""What was recorded in earlier sweeps, by what the module did in the unablated run and the form of all tensors, of the
latest uses; None where it failed. The weights are arguments, so that the next snapshot needs no recording."""

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

    The first pass of a form is recorded, and those after it replay what it did: what lies before the first change does
    not depend on the lane and is then computed once per batch. A module that vmap refuses (control flow that depends on
    activations) runs lane by lane on the same values: ``vmapped`` is then False.

    Args:
        loss: The module's loss.
        params: The weights.
        ablation: What lanes change.
        with_tasks: Whether to measure on every task as well.
        metrics: What else to measure.
        mask: Says which positions count; None where all do.
        run: What tells the module's unablated run from others, so that what was recorded of a module that does the
            same serves this one; '' where nothing does.
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
        run: str = "",
    ) -> None:
        self.mask, self.run = mask, run
        self.loss = loss
        self.params = params
        self.ablation = ablation
        self.vmapped = True
        self._with_tasks = with_tasks
        self.metrics = tuple(metrics)
        self._replays: dict[Any, Replay | None] = {}
        self._prepared: tuple[object, object, tuple[Tensor, ...]] | None = None
        self._known: tuple[Batch, Batch | None, Tensor | None, tuple[Batch, Tensor | None] | None] | None = None

    def __call__(
        self,
        batch: Batch,
        lanes: Sequence[Mapping[str, Tensor]],
        *,
        clean: tuple[Tensor, ...] = (),
        answers: Batch | None = None,
        known: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Losses:
        """Returns the losses of every lane.

        Args:
            batch: The examples of all lanes.
            lanes: What the ablation asks of a lane, with a leading axis of lanes.
            clean: The unablated outputs that the metrics compare with.
            answers: The examples whose entries the metrics read, where they are others.
            known: What the ablation takes from among the weights besides these, by name; the same for all lanes.
        """
        stop_if_asked()
        count = len(tree_leaves(lanes)[0])
        more = -count % lanes_together(n_examples(batch)) if self.vmapped else 0
        varying = tuple({name: _laid_out(values, more) for name, values in what.items()} for what in lanes)
        losses = self._losses({**self.params, **known}, batch, varying, clean, answers)
        return tuple(one[:count] for one in losses) if more else losses

    def _losses(
        self, params: Params, batch: Batch, varying: Lane, clean: tuple[Tensor, ...], answers: Batch | None
    ) -> Losses:
        # The examples are the same object from pass to pass, and another one for the next block.
        if self._known is None or self._known[0] is not batch or self._known[1] is not answers:
            told = None if answers is None else (answers, self._counting(answers))
            self._known = (batch, answers, self._counting(batch), told)
        fixed = (params, batch, clean, *self._known[2:])
        if not self.vmapped:
            return self._one_by_one(fixed, varying)
        # Values may be one for all examples, and then do not tell how many these are.
        shapes = (n_examples(batch), *(values.shape for values in tree_leaves(varying)))
        if shapes not in self._replays:
            losses = self._first(shapes, fixed, varying)
            if losses is not None:
                return losses
        replay = self._replays[shapes]
        if replay is None:
            return self._plain(fixed, varying)
        try:
            if self._prepared is None or self._prepared[0] is not batch or self._prepared[1] is not replay:
                with torch.no_grad():
                    self._prepared = (batch, replay, replay.prepare(tensors_of(fixed)))
            return replay(self._prepared[2], tensors_of(varying))
        except OtherNumbersError:
            return self._plain(fixed, varying)
        except REFUSED:  # it may fail only when it is called
            self._replays[shapes] = None
            self._keep(self._key(fixed, varying), None)
            return self._plain(fixed, varying)

    def _counting(self, batch: Batch) -> Tensor | None:
        return None if self.mask is None else self.mask(batch)

    def _first(self, shapes: Any, fixed: _Fixed, varying: Lane) -> Losses | None:
        """Finds what lanes of new shapes replay, or records it; then returns their losses, where no gradient is due."""
        key, losses = self._key(fixed, varying), None
        self._replays[shapes] = None
        if self.run and key in _KEPT:
            _KEPT.move_to_end(key)
            self._replays[shapes] = _KEPT[key]
            return None
        try:
            losses, tape = record(self._batched, fixed, varying)
            self._replays[shapes] = Replay(tape, len(tensors_of(fixed)))
        except Exception:  # recording is for speed alone, and fails in many ways
            losses = None
        self._keep(key, self._replays[shapes])
        return None if torch.is_grad_enabled() else losses

    def _keep(self, key: Any, replay: Replay | None) -> None:
        """Keeps a replay for other sweeps, unless it holds tensors of this module's own."""
        if self.run and not (replay and replay.constants):
            _KEPT[key] = replay
            _KEPT.move_to_end(key)
            if len(_KEPT) > _MOST:
                _KEPT.popitem(last=False)

    def _key(self, fixed: _Fixed, varying: Lane) -> object:
        """Returns what a replay holds for."""
        return type(self), self.run, self.ablation, self._with_tasks, self.metrics, forms_of((fixed, varying))

    def _plain(self, fixed: _Fixed, varying: Lane) -> Losses:
        try:
            return self._batched(fixed, varying)
        except REFUSED:
            # What is wrong with the module itself is raised again here, without vmap around it.
            losses = self._one_by_one(fixed, varying)
            self.vmapped = False
        return losses

    def _batched(self, fixed: _Fixed, varying: Lane) -> Losses:
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            # vmap runs fused kernels lane by lane, which is right, and warns.
            warnings.filterwarnings("ignore", message="There is a performance drop")
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


def _laid_out(values: Tensor, more: int) -> Tensor:
    """Returns values in the one layout in memory that a replay holds for, the last lane some times more.

    An axis of one entry may have any stride and be contiguous: a copy has that of the layout.
    """
    if more:
        values = torch.cat([values, values[-1:].detach().expand(more, *values.shape[1:])])
    values = values.contiguous()
    standard = tuple(prod(values.shape[at + 1 :]) for at in range(values.ndim))
    return values if values.stride() == standard else values.clone(memory_format=torch.contiguous_format)


def tensors_of(tree: object) -> list[Tensor]:
    """Returns the tensors of a tree, in its order."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def forms_of(tree: object) -> str:
    """Returns what tells trees with tensors of other forms, or with other values that are no tensors, apart."""
    return str(tree_map(_form, tree))


def _form(value: object) -> object:
    if not isinstance(value, Tensor):
        return value
    return tuple(value.shape), value.stride(), value.dtype, str(value.device)
