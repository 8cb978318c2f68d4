"""The run of a module without ablation: recorded once for a loss, and then replayed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from llc_lightning.ablation.engine.lanes import REFUSED, ForwardPass, forms_of, losses_of, tensors_of
from llc_lightning.ablation.metrics import Metric
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.components.skeleton import Skeleton
from llc_lightning.runtime.batches import Batch, Params
from llc_lightning.runtime.replay import OtherNumbersError, Replay
from llc_lightning.runtime.tape import RecordingError, Tape, record

_MOST = 32
"""Runs that are kept of one loss."""


class _Recording:
    """What a module did, and the form of what it returned."""

    def __init__(self, tape: Tape, found: ForwardPass, fixed: int, digest: str) -> None:
        self.checked = False
        """Whether what is checked of it was found right."""
        self.digest, self._tape, self._fixed = digest, tape, fixed
        self._leaves: list[Any]
        self._spec: TreeSpec
        self._leaves, self._spec = tree_flatten(found)
        self._leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        self._tensors = [isinstance(leaf, Tensor) for leaf in tree_flatten(found)[0]]

    @cached_property
    def replay(self) -> Replay | None:
        """What does it again; None where what it does depends on the examples' numbers."""
        try:
            return Replay(self._tape, self._fixed)
        except RecordingError:
            return None

    def result(self, tensors: Sequence[Tensor]) -> ForwardPass:
        """Returns what the module returns, given its tensors."""
        given = iter(tensors)
        leaves = [next(given) if is_one else leaf for leaf, is_one in zip(self._leaves, self._tensors, strict=True)]
        return tree_unflatten(leaves, self._spec)


_KEPT: WeakKeyDictionary[Skeleton, OrderedDict[Any, _Recording]] = WeakKeyDictionary()
"""What was recorded, by the copy of the module that it was recorded of, which nothing changes, and the form of all
tensors."""


class Unablated:
    """Runs a module as it is.

    The first pass is recorded, where that is asked for, and passes of its form replay it, in this sweep and, as long as
    the loss lives, in others.

    Args:
        loss: The module's loss, without edits.
        params: The weights.
        with_tasks: Whether to measure on every task as well.
        metrics: Whose outputs are wanted.
        recorded: Whether to record the first pass.
    """

    def __init__(
        self, loss: ModuleLoss, params: Params, *, with_tasks: bool, metrics: Sequence[Metric], recorded: bool
    ) -> None:
        self.run = ""
        """Tells what the first pass did from what other modules do; '' where it was not recorded."""
        self._loss, self._params, self._with_tasks, self._metrics = loss, params, with_tasks, tuple(metrics)
        self._to_record = recorded
        self._kept = _KEPT.setdefault(loss.skeleton, OrderedDict())
        self._prepared: tuple[_Recording, tuple[Tensor, ...]] | None = None

    def __call__(self, batch: Batch, points: Sequence[str]) -> ForwardPass:
        """Returns the losses of a batch, and the activations at hook points."""
        key = self._key(batch, points)
        first, self._to_record = self._to_record, False
        recording = self._kept.get(key)
        if recording is None:
            return self._recorded(key, batch, points) if first else self._forward(self._params, batch, points)
        self._kept.move_to_end(key)
        self.run = recording.digest if first else self.run
        return self._replayed(recording, batch) or self._forward(self._params, batch, points)

    def activations(self, batch: Batch, points: Sequence[str]) -> dict[str, Tensor]:
        """Returns the activations at hook points alone."""
        recording = self._kept.get(self._key(batch, points))
        found = None if recording is None else self._replayed(recording, batch)
        return self._loss.activations(self._params, batch, points) if found is None else found.caught

    def is_new(self, batch: Batch, points: Sequence[str]) -> bool:
        """Says whether no recording of passes of this form was found right (:meth:`is_right`)."""
        recording = self._kept.get(self._key(batch, points))
        return recording is None or not recording.checked or recording.replay is None

    def is_right(self, batch: Batch, points: Sequence[str]) -> None:
        """Notes that what is checked of passes of this form was found right, and so holds on."""
        recording = self._kept.get(self._key(batch, points))
        if recording is not None:
            recording.checked = True

    def _key(self, batch: Batch, points: Sequence[str]) -> object:
        return tuple(points), self._with_tasks, self._metrics, self._form, forms_of(batch)

    @cached_property
    def _form(self) -> str:
        return forms_of(self._params)

    def _forward(self, params: Params, batch: Batch, points: Sequence[str]) -> ForwardPass:
        return losses_of(self._loss, params, batch, self._with_tasks, self._metrics, points)

    def _recorded(self, key: Any, batch: Batch, points: Sequence[str]) -> ForwardPass:
        def forward(params: Params, batch: Batch) -> ForwardPass:
            return self._forward(params, batch, points)

        try:
            found, tape = record(forward, self._params, batch)
        except Exception:  # recording is for speed alone, and what is wrong itself is raised here
            return self._forward(self._params, batch, points)
        kinds = (type(part) for part in self._loss.module.modules())
        self.run = tape.digest(*points, *(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))
        self._kept[key] = _Recording(tape, found, len(tensors_of(self._params)), self.run)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return found

    def _replayed(self, recording: _Recording, batch: Batch) -> ForwardPass | None:
        """Returns what the module would, None where that cannot be known."""
        replay = recording.replay
        if replay is None or torch.is_grad_enabled():
            return None
        try:
            if self._prepared is None or self._prepared[0] is not recording:
                self._prepared = (recording, replay.prepare(tensors_of(self._params)))
            return recording.result(replay(self._prepared[1], tensors_of(batch)))
        except (OtherNumbersError, *REFUSED):
            return None
