"""The losses of several tasks along chains that sample the loss of all of them together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, LossFn, Params, chunks, n_examples, take
from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.observables.task_losses import TaskLosses
from llc_lightning.sampling.slices import Moved
from llc_lightning.sampling.stacked import StackedLoss

_BLOCK = 4096


@dataclass(frozen=True)
class Tasks:
    """Several losses on the same examples: a task's loss is its mean over the examples that count for it."""

    names: tuple[str, ...]
    losses: Callable[[Params, Batch], Tensor]
    """The loss of every example on every task; [example, task], or [example, 1] where the tasks share one loss."""
    counts: Float[Tensor, "example task"]
    """Whether an example counts for a task."""

    def observable(self, params: Params, data: Batch, lanes: list[Moved], *, every: int) -> TaskLosses:
        """Returns what records the losses of the tasks, in excess of those at ``params``, along the chains of lanes."""
        with torch.no_grad():
            found = [self.losses(params, take(data, block)) for block in chunks(n_examples(data), _BLOCK)]
        share = self.counts.mean(0)
        shares = torch.where(share > 0, self.counts / share, torch.nan)
        stacked = StackedLoss(self.losses, params, lanes)
        return TaskLosses(every, stacked, torch.cat(found), shares.to(found[0].dtype))


def tasks_of_module(loss: ModuleLoss, params: Params, data: Batch) -> Tasks:
    """Returns the tasks that a module declares."""
    with torch.no_grad():
        counts = [loss.per_task(params, take(data, block))[1] for block in chunks(n_examples(data), _BLOCK)]
    share = torch.cat(counts).to(torch.get_default_dtype())
    return Tasks(loss.task_names, lambda params, batch: loss.per_task(params, batch)[0], share)


def tasks_of_masks(loss_fn: LossFn, data: Batch, masks: Mapping[str, Tensor]) -> Tasks:
    """Returns tasks that are subsets of the examples.

    Args:
        loss_fn: The loss of every example.
        data: The examples.
        masks: By the task's name, which examples it has: bool [example].

    Raises:
        SettingError: If a mask is not one for these examples, or has none.
    """
    n = n_examples(data)
    if not isinstance(cast("object", masks), Mapping):
        raise SettingError(f"tasks is of type {type(masks).__name__}; give a dict of bool tensors by the task's name.")
    for name, mask in masks.items():
        if not isinstance(cast("object", mask), Tensor):
            raise SettingError(f"the task {name!r} is of type {type(mask).__name__}; give a bool tensor.")
        if mask.dtype != torch.bool or tuple(mask.shape) != (n,):
            raise SettingError(
                f"the task {name!r} is {mask.dtype} of shape {tuple(mask.shape)}; give a bool for each of the {n} "
                "examples."
            )
        if not bool(mask.any()):
            raise SettingError(f"the task {name!r} has no example; give it at least one, or leave it out.")

    def losses(params: Params, batch: Batch) -> Tensor:
        return loss_fn(params, batch)[:, None]

    return Tasks(tuple(masks), losses, torch.stack(list(masks.values()), 1).to(torch.get_default_dtype()))
