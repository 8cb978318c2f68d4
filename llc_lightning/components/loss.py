"""The one builder of loss functions: from a module with a per-example loss to ``LossFn``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llc_lightning.components.inventory import Listing
from llc_lightning.components.ports import calls, replaced
from llc_lightning.components.skeleton import Skeleton
from llc_lightning.runtime.batches import Batch, Params, n_examples, take
from llc_lightning.runtime.errors import AddressError, SettingError, unknown
from llc_lightning.runtime.tape import told_apart


@runtime_checkable
class HasPerExampleLoss(Protocol):
    """What any module must offer to be measured."""

    def per_example_loss(self, batch: Any) -> Tensor:
        """Returns the loss of every example, in nats or the module's own unit; shape [example].

        It must be a function of the weights and the batch alone.
        """
        ...


@runtime_checkable
class HasTasks(Protocol):
    """A module whose loss splits into tasks (circuits, data sets)."""

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of the tasks, such as ``circuit:07``."""
        ...

    def per_task_loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Returns the loss of every example on every task, and whether the example counts for it; [example, task]."""
        ...


@runtime_checkable
class HasLossUnit(Protocol):
    """A module that says what its loss is counted in: nats only where it is a log-likelihood.

    Where a task is counted in something else than the whole loss, ``task_loss_unit`` says in what.
    """

    @property
    def loss_unit(self) -> str:
        """The unit, such as ``nats per token``."""
        ...


@dataclass(frozen=True)
class TaskQuantity:
    """A quantity that only the module knows how to measure, such as a sign accuracy or a baseline's loss."""

    quantity: str
    """A name from ``results.quantities``."""
    value: float
    """NaN where it is not defined."""
    stderr: float
    n: int
    """Examples that it was measured on."""
    loss: str = "train"
    """What it is about: ``train``, or the name of a task."""
    method: str = ""
    """How it was made, where there are several ways, such as ``zero`` for the baseline that answers 0."""
    component: str = ""
    """The address of the part that it is about; '' for the whole module."""
    kind: str = ""
    """The kind of that part, such as ``head``."""
    unit: str = ""
    """What the value is counted in, where the loss is another than the module's; '' for what the quantity says."""


@runtime_checkable
class HasTaskQuantities(Protocol):
    """A module with quantities of its own."""

    def task_quantities(self, batch: Any) -> list[TaskQuantity]:
        """Returns the quantities on a batch, each with its standard error and number of examples."""
        ...


@runtime_checkable
class Change(Protocol):
    """What happens to the activation at a hook point."""

    @property
    def point(self) -> str:
        """The hook point."""
        ...

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns what takes the activation's place."""
        ...


@dataclass(frozen=True)
class Edit:
    """The replacement ``h <- where(mask, value, h)`` at a hook point; both broadcast against the activation.

    It is exact: entries outside of the mask keep their bits, also where they are NaN.
    """

    point: str
    mask: Bool[Tensor, "..."]
    value: Float[Tensor, "..."]

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns the activation with the replacement.

        Raises:
            SettingError: If mask or value do not broadcast against the activation.
        """
        if not _fits(self.mask.shape, activation.shape) or not _fits(self.value.shape, activation.shape):
            raise SettingError(
                f"an edit at {self.point!r} has a mask of shape {tuple(self.mask.shape)} and a value of shape "
                f"{tuple(self.value.shape)}; both must broadcast to the activation's {tuple(activation.shape)}."
            )
        return torch.where(self.mask, self.value.to(activation.dtype), activation)


@dataclass(frozen=True)
class ModuleLoss:
    """A module's per-example loss as a function of its weights; build it with :func:`loss_fn`.

    It runs on a copy of the module, so that no call touches the live one: in eval mode, with constant buffers and a
    silent ``log``. ``params`` may hold buffers too; names left out keep the value that the module has.
    """

    skeleton: Skeleton
    edits: tuple[Change, ...] = ()

    def __call__(self, params: Params, batch: Batch, /) -> Float[Tensor, "example"]:
        """Returns the loss of every example.

        Raises:
            SettingError: If the module returns anything but one loss per example, or a name is not the module's.
            AddressError: If an edit is at no hook point.
        """
        return _one_per_example(self.asked("per_example_loss", params, batch), batch)

    @property
    def module(self) -> nn.Module:
        """The copy that it runs on, for reading what a module declares; do not change it."""
        return self.skeleton.module

    @property
    def listing(self) -> Listing:
        """What there is to name in the copy."""
        return self.skeleton.listing

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of the tasks; empty where the module has none."""
        return tuple(self.module.task_names) if isinstance(self.module, HasTasks) else ()

    def unit_of(self, loss: str) -> str:
        """Returns what the loss, or one of a task by its name, is counted in; '' where the module does not say.

        A loss that is not the module's own, such as a metric, has no unit here.
        """
        if not isinstance(self.module, HasLossUnit) or (loss != "train" and loss not in self.task_names):
            return ""
        whole = str(self.module.loss_unit)
        return whole if loss == "train" else str(getattr(self.module, "task_loss_unit", whole))

    def with_edits(self, edits: Sequence[Change]) -> ModuleLoss:
        """Returns the loss of the edited module: the same weights, other activations at the edited points."""
        return replace(self, edits=tuple(edits))

    def per_task(
        self, params: Params, batch: Batch
    ) -> tuple[Float[Tensor, "example task"], Bool[Tensor, "example task"]]:
        """Returns the loss of every example on every task, and whether the example counts for the task.

        Raises:
            SettingError: If the module has no tasks.
        """
        if not isinstance(self.module, HasTasks):
            name = type(self.module).__name__
            raise SettingError(f"{name} has no tasks; give it task_names and per_task_loss(batch).")
        return self.asked("per_task_loss", params, batch)

    def task_quantities(self, params: Params, batch: Batch) -> list[TaskQuantity]:
        """Returns the module's own quantities; none where it has none."""
        if not isinstance(self.module, HasTaskQuantities):
            return []
        with torch.no_grad():
            return self.asked("task_quantities", params, batch)

    def activations(self, params: Params, batch: Batch, points: Sequence[str]) -> dict[str, Tensor]:
        """Returns the activations at hook points, edits included, in one forward pass, without gradient.

        Raises:
            AddressError: If a point is no hook point, or the loss is computed without reaching it exactly once.
        """
        with torch.no_grad():
            caught = self.watched(params, batch, points)[1]
        return {point: activation.detach() for point, activation in caught.items()}

    def watched(
        self, params: Params, batch: Batch, points: Sequence[str]
    ) -> tuple[Float[Tensor, "example"], dict[str, Tensor]]:
        """Returns the loss of every example and the activations at hook points, edits included, in one forward pass.

        Raises:
            SettingError: If the module returns anything but one loss per example, or a name is not the module's.
            AddressError: If a point is no hook point, or the loss is computed without reaching it exactly once.
        """
        caught: dict[str, list[Tensor]] = {point: [] for point in points}

        def catcher(point: str) -> Callable[[Tensor], Tensor]:
            def catch(activation: Tensor) -> Tensor:
                caught[point].append(activation.clone())  # a module may write over its own, as ReLU(inplace=True) does
                return told_apart(activation)

            return catch

        losses = self.asked("per_example_loss", params, batch, [(point, catcher(point)) for point in caught])
        for point, found in caught.items():
            if len(found) != 1:
                raise AddressError(not_once(point, len(found)))
        return _one_per_example(losses, batch), {point: found[0] for point, found in caught.items()}

    def asked(
        self,
        method: str,
        params: Params,
        batch: Batch,
        changes: Sequence[tuple[str, Callable[[Tensor], Tensor]]] = (),
    ) -> Any:
        """Returns what a method of the module gives for a batch, edits and then changes at hook points included.

        Raises:
            SettingError: If a parameter's name is not the module's.
            AddressError: If an edit or a change is at no hook point.
        """
        with ExitStack() as hooks:
            for point, change in [*((edit.point, edit) for edit in self.edits), *changes]:
                hooks.enter_context(replaced(self.module, point, change))
            return self.skeleton.run(method, params, batch)


@dataclass(frozen=True)
class TaskLoss:
    """A module's loss on one of its tasks as a function of its weights, for the examples that count for the task."""

    whole: ModuleLoss
    task: int

    def __call__(self, params: Params, batch: Batch, /) -> Float[Tensor, "example"]:
        """Returns the task's loss of every example."""
        return self.whole.per_task(params, batch)[0][:, self.task]

    @property
    def module(self) -> nn.Module:
        """The copy that it runs on."""
        return self.whole.module


def task_loss(whole: ModuleLoss, params: Params, data: Batch, name: str) -> tuple[TaskLoss, Batch]:
    """Returns the loss on one task, and the examples that count for it.

    Raises:
        SettingError: If the module has no such task, or no example counts for it.
    """
    if name not in whole.task_names:
        raise SettingError(unknown("task", name, whole.task_names))
    task = whole.task_names.index(name)
    with torch.no_grad():
        counts = whole.per_task(params, data)[1][:, task]
    if not bool(counts.any()):
        raise SettingError(f"no example counts for the task {name!r}; measure it on data that has some.")
    return TaskLoss(whole, task), take(data, counts.nonzero().flatten())


def not_once(point: str, times: int) -> str:
    """Returns what is wrong with a hook point that a forward pass reaches never, or several times."""
    told = "address a submodule that each forward pass uses once"
    if times > 1:
        told = f"say which call is meant, as in {' or '.join(repr(one) for one in calls(point, min(times, 2)))}"
    return f"the hook point {point!r} was reached {times} times when the loss was computed; {told}."


def loss_fn(module: nn.Module, edits: Sequence[Change] = ()) -> ModuleLoss:
    """Returns the per-example loss of a module, with edited activations where ``edits`` are given.

    Args:
        module: Any module with ``per_example_loss(batch) -> Float[Tensor, "example"]``, a function of the weights and
            the batch alone. It is copied: later changes of its buffers or attributes do not show in the loss.
        edits: Replacements at hook points, applied in the given order.

    Raises:
        SettingError: If the module has no ``per_example_loss``.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.w = nn.Parameter(torch.tensor(2.0))
        ...
        ...     def per_example_loss(self, batch):
        ...         return (self.w * batch - 1).square()
        >>> loss_fn(Net())({"w": torch.tensor(3.0)}, torch.tensor([0.0, 1.0]))
        tensor([1., 4.])
    """
    if not isinstance(module, HasPerExampleLoss):
        raise SettingError(
            f"{type(module).__name__} has no per_example_loss(batch); give it a method that returns one loss "
            "per example, shape [example], and call it from training_step as well."
        )
    return ModuleLoss(Skeleton(module), tuple(edits))


def snapshot_params(module: nn.Module) -> dict[str, Tensor]:
    """Returns detached copies of a module's parameters and buffers by name, tied tensors once."""
    return {name: tensor.detach().clone() for name, tensor in named_tensors(module).items()}


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Returns a module's parameters and buffers themselves by name, tied tensors once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _one_per_example(losses: object, batch: Batch) -> Float[Tensor, "example"]:
    n = n_examples(batch)
    if not isinstance(losses, Tensor) or tuple(losses.shape) != (n,):
        told = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else f"type {type(losses).__name__}"
        raise SettingError(
            f"per_example_loss returned a value of {told} for {n} examples; it must return one loss per example, "
            f"shape ({n},): use reduction='none', and average over everything but the examples."
        )
    return losses


def _fits(shape: Sequence[int], into: Sequence[int]) -> bool:
    """Says whether a tensor of a shape broadcasts against another without making that larger."""
    pairs = zip(reversed(shape), reversed(into), strict=False)
    return len(shape) <= len(into) and all(size in (1, other) for size, other in pairs)
