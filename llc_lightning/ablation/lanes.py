"""Many ablations in one forward pass: a lane is one mask and one replacement value at a hook point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.components.loss import Edit, ModuleLoss
from llc_lightning.runtime.errors import DataError
from llc_lightning.runtime.graph import traced
from llc_lightning.runtime.types import Batch, Params

Losses: TypeAlias = tuple[Tensor, ...]
"""The loss [.., row, 1] and, where asked for, the losses by task [.., row, task]."""

_Run: TypeAlias = Callable[[Params, Batch, Tensor, Tensor], Losses]

_WORTH_TRACING = 64
"""Calls from which on tracing, some twenty calls' worth of time, pays."""


class Lanes:
    """Runs lanes of one hook point in one forward pass under ``torch.vmap``.

    What lies before the hook point does not depend on the lane and is computed once per pass. A module that vmap
    refuses (control flow that depends on activations) runs lane by lane on the same values: ``vmapped`` is then False.
    """

    def __init__(self, loss: ModuleLoss, params: Params, point: str, *, with_tasks: bool) -> None:
        self.loss = loss
        self.params = params
        self.point = point
        self.vmapped = True
        self._with_tasks = with_tasks
        self._run: _Run | None = None

    def __call__(
        self,
        batch: Batch,
        masks: Bool[Tensor, "lane ..."],
        values: Float[Tensor, "lane row *unit"],
        *,
        calls: int = 1,
    ) -> Losses:
        """Returns the losses with ``where(masks[l], values[l], h)`` for h at the hook point, for every lane l.

        Args:
            batch: The examples of all lanes.
            masks: One mask per lane, to broadcast against one example's activation.
            values: One replacement per lane.
            calls: How many calls on the same shapes are to come, so that preparing for them can pay.
        """
        if self._run is None:
            return self._first(calls, self.params, batch, masks, values)
        return self._run(self.params, batch, masks, values)

    def _first(self, calls: int, *args: Any) -> Losses:
        batched = torch.vmap(self._one, in_dims=(None, None, 0, 0))
        if calls >= _WORTH_TRACING:
            try:
                self._run = traced(batched, *args)
                return self._run(*args)
            except Exception:  # tracing is for speed alone, and fails in many ways
                self._run = None
        try:
            losses = batched(*args)
            self._run = batched
        except (RuntimeError, ValueError, TypeError):
            # What is wrong with the module itself is raised again here, without vmap around it.
            losses = self._one_by_one(*args)
            self._run, self.vmapped = self._one_by_one, False
        return losses

    def _one(self, params: Params, batch: Batch, mask: Tensor, value: Tensor) -> Losses:
        return losses_of(self.loss.with_edits([Edit(self.point, mask, value)]), params, batch, self._with_tasks)[0]

    def _one_by_one(self, params: Params, batch: Batch, masks: Tensor, values: Tensor) -> Losses:
        lanes = [self._one(params, batch, mask, value) for mask, value in zip(masks, values, strict=True)]
        return tuple(torch.stack(losses) for losses in zip(*lanes, strict=True))


def losses_of(loss: ModuleLoss, params: Params, batch: Batch, with_tasks: bool) -> tuple[Losses, Tensor | None]:
    """Returns the loss and the losses by task on a batch, and which of the latter count.

    Raises:
        DataError: If the module's losses by task have another shape than its task names and its loss ask for.
    """
    total = loss(params, batch)[:, None]
    if not with_tasks:
        return (total,), None
    by_task, counted = loss.per_task(params, batch)
    expected = (total.shape[0], len(loss.task_names))
    if tuple(by_task.shape) != expected or tuple(counted.shape) != expected:
        raise DataError(
            f"per_task_loss returned losses of shape {tuple(by_task.shape)} and counted of shape {tuple(counted.shape)}"
            f"; both must be [example, task], here {expected}."
        )
    return (total, by_task), counted
