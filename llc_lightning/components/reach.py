"""What a forward pass on a few examples tells: which hook points and parameters the loss is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from llc_lightning.components.hooks import submodules
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.components.ports import Place, shown
from llc_lightning.runtime.batches import Batch, Params, for_params, n_examples, take
from llc_lightning.runtime.errors import SettingError

_FEW = 3
"""So many examples are run, and one less: the axis that counts them is the one that changes."""


@dataclass(frozen=True)
class Seen:
    """What is seen of one hook point."""

    calls: int = 0
    """How often the loss calls it."""
    shape: tuple[int, ...] = ()
    """Of one example's activation, in the first call; () where there is none."""
    why_not: str = ""
    """Why its activation cannot be replaced; '' where it can."""


@dataclass(frozen=True)
class Reach:
    """What is seen of a loss."""

    points: Mapping[str, Seen]
    unused: frozenset[str]
    """The parameters that the loss does not depend on."""

    @property
    def uncalled(self) -> frozenset[str]:
        """The hook points that it never reaches."""
        return frozenset(point for point, seen in self.points.items() if not seen.calls)


def reach(loss: ModuleLoss, params: Params, data: Batch, points: Sequence[str]) -> Reach:
    """Returns which hook points the loss of a few examples reaches, and which parameters it depends on.

    Both follow from its gradient, and where that says nothing from numbers: a module may cut its graph.

    Args:
        loss: The module's loss, without edits.
        params: The weights.
        data: The examples; the first few are run.
        points: The hook points to look at.
    """
    few = take(for_params(data, params), slice(0, _FEW))
    with torch.inference_mode(False), torch.enable_grad():
        own = dict(loss.module.named_parameters())
        leaves = {name: _leaf(value) if name in own else value for name, value in params.items()}
        parts = submodules(loss.module, every_name=True)
        one = _Look(loss, parts, leaves, few, points)
        one.check_own()
        with torch.no_grad():
            fewer = _Look(loss, parts, leaves, take(few, slice(0, n_examples(few) - 1 or 1)), points)
        unread, unused = one.unread(), one.unused()
    return Reach({point: one.seen(point, fewer, unread) for point in points}, frozenset(unused))


class _Look:
    """One forward pass with a probe of zero added to every activation that it shows."""

    def __init__(
        self, loss: ModuleLoss, parts: Mapping[str, nn.Module], params: Params, batch: Batch, points: Sequence[str]
    ) -> None:
        self.loss, self.parts, self.params, self.batch, self.n = loss, parts, params, batch, n_examples(batch)
        self.found: dict[str, list[Any]] = {point: [] for point in points}
        self.refused: dict[str, str] = {}
        self.probes = {point: torch.zeros((), requires_grad=True) for point in points}
        self.losses = self._run(self.params, self.probes)

    def _run(self, params: Params, probes: Mapping[str, Tensor]) -> Tensor:
        with ExitStack() as hooks:
            for point, probe in probes.items():
                self._watch(hooks, point, probe)
            return self.loss(params, take(self.batch, torch.arange(self.n)))  # copies, which a module may write to

    def _watch(self, hooks: ExitStack, point: str, probe: Tensor) -> None:
        place = Place.of(point)
        part = self.parts[place.path]

        def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            self.found[point].append(inputs[0] if inputs else None)
            return (_shifted(inputs[0], probe), *inputs[1:]) if inputs else inputs

        def after(_: nn.Module, inputs: Any, output: Any) -> Any:
            value, rest = shown(part, output)
            self.found[point].append(value)
            return rest(_shifted(value, probe))

        try:
            handle = part.register_forward_pre_hook(before) if place.is_input else part.register_forward_hook(after)
        except RuntimeError:  # torch hooks no scripted module
            self.refused[point] = "torch can hook no module that is scripted"
            return
        hooks.callback(handle.remove)

    def check_own(self) -> None:
        """Checks that the loss reads the weights that it is given, not those of the module that it was copied from.

        Raises:
            SettingError: If it does not depend on a weight, and on another tensor of its shape instead.
        """
        given = {id(value) for value in (*self.params.values(), *self.probes.values())}
        shapes = {tuple(leaf.shape) for leaf in _leaves_of(self.losses) if id(leaf) not in given}
        for name in sorted(self.unused()) if shapes else ():
            if tuple(self.params[name].shape) in shapes:
                raise SettingError(
                    f"the loss does not read {name!r} of the copy that is measured, but that of the module itself, as "
                    "a lambda or a function kept in an attribute does; make it a method of the module."
                )

    def unread(self) -> set[str]:
        """Returns the hook points that the loss does not depend on."""
        silent = [point for point in self.probes if ("point", point) in self._silent]

        def moves(some: Sequence[str]) -> bool:
            return not self._same(self.params, {point: torch.ones(()) for point in some})

        return set(silent) - _that_move(silent, moves)

    def unused(self) -> set[str]:
        """Returns the parameters that the loss does not depend on."""
        silent = [name for name in self.params if ("parameter", name) in self._silent]

        def moves(some: Sequence[str]) -> bool:
            return not self._same({**self.params, **{name: self.params[name] + 1 for name in some}}, {})

        return set(silent) - _that_move(silent, moves)

    @cached_property
    def _silent(self) -> set[tuple[str, str]]:
        """The hook points and parameters that have no gradient."""
        own = dict(self.loss.module.named_parameters())
        named = {("point", point): probe for point, probe in self.probes.items()}
        named |= {("parameter", name): value for name, value in self.params.items() if name in own}
        at = [name for name, tensor in named.items() if tensor.requires_grad]
        if not self.losses.requires_grad or not at:
            return set(named)
        total, leaves = self.losses.sum(), [named[name] for name in at]
        try:
            found = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
        except RuntimeError:  # a loss that writes over what its gradient needs is told of when it is measured
            return set()
        return {name for name, slope in zip(at, cast("Sequence[Tensor | None]", found), strict=True) if slope is None}

    def _same(self, params: Params, probes: Mapping[str, Tensor]) -> bool:
        before = {point: list(values) for point, values in self.found.items()}
        with torch.no_grad():
            shifted = self._run(params, probes)
        self.found = before
        return torch.equal(shifted, self.losses)

    def seen(self, point: str, fewer: _Look, unread: set[str]) -> Seen:
        """Returns what is seen of a hook point; ``fewer`` is another look at fewer examples."""
        values = self.found[point]
        first, other = (look.found[point][0] if look.found[point] else None for look in (self, fewer))
        if point in self.refused:
            return Seen(why_not=self.refused[point])
        if not values:
            return Seen(why_not="the loss does not call it")
        if not isinstance(first, Tensor) or not isinstance(other, Tensor):
            return Seen(len(values), (), f"it gives a {_what(first)}, no tensor")
        shape = tuple(first.shape)
        if not first.is_floating_point():
            return Seen(len(values), shape[1:], f"its activation is {first.dtype}, and no floating point numbers")
        if first.ndim < 2 or len(first) != self.n or len(other) != fewer.n:
            why = f"the first axis of its activation, of shape {shape}, does not count the {self.n} examples"
            return Seen(len(values), shape, why)
        return Seen(len(values), shape[1:], "the loss does not depend on it" if point in unread else "")


def _leaves_of(losses: Tensor) -> list[Tensor]:
    """Returns the tensors with a gradient of their own that a result depends on."""
    found: list[Tensor] = []
    seen: set[Any] = set()
    ahead: list[Any] = [losses.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if hasattr(node, "variable"):
                found.append(node.variable)
            ahead += [before for before, _ in node.next_functions]
    return found


def _that_move(silent: Sequence[str], moves: Any) -> set[str]:
    """Returns those of some things whose change shows in the loss; one pass for all where none does."""
    return {name for name in silent if moves([name])} if silent and moves(list(silent)) else set()


def _what(value: Any) -> str:
    inner = value[0] if type(value) in (tuple, list) and value else None
    return type(value).__name__ if inner is None else f"{type(value).__name__} of a {type(inner).__name__}"


def _leaf(value: Tensor) -> Tensor:
    leaf = value.detach().clone()
    return leaf.requires_grad_() if leaf.is_floating_point() or leaf.is_complex() else leaf


def _shifted(value: Any, probe: Tensor) -> Any:
    shifts = isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided
    return value + probe.to(value) if shifts else value
