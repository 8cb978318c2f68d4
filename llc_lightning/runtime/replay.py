"""A recorded function in two: what depends on the first arguments alone, and what is computed anew for the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from llc_lightning.runtime.graph import in_place
from llc_lightning.runtime.tape import Form, RecordingError, Ref, Step, Tape

_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default, torch.ops.aten.expand.default)  # pyright: ignore[reportPrivateUsage]


class OtherNumbersError(RecordingError):
    """A function may do something else than what was recorded, since it reads other numbers."""


class Replay:
    """A function of fixed and varying arguments, done again from its tape; the same bits as the function itself.

    Equal operations are done once, and those that change nothing are left out.

    Args:
        tape: What the function did.
        fixed: How many of its tensors are fixed; these are its first.
    """

    def __init__(self, tape: Tape, fixed: int) -> None:
        self.constants = tape.constants
        self._fixed, self._inputs = fixed, tape.inputs
        steps, self._outputs, self._reads, same = _shortened(tape)
        # What was a view of a value that is another one now is a view of that.
        self._forms = [form._replace(root=same[form.root]) if form.root in same else form for form in tape.forms]
        varying = set(range(fixed, tape.inputs))
        for step in steps:
            if not varying.isdisjoint(step.needs):
                varying.update(step.made)
        self._second = [step for step in steps if not varying.isdisjoint(step.made)]
        if not varying.isdisjoint(at for at, _ in self._reads):
            raise RecordingError("the function reads numbers that depend on the varying arguments.")
        wanted = [at for step in self._second for at in step.needs] + self._outputs
        self._cut = [at for at in dict.fromkeys(wanted) if at not in varying]
        ends = [*self._cut, *(at for at, _ in self._reads)]
        first = _needed([step for step in steps if varying.isdisjoint(step.made)], ends)
        self._first = _Program(first, ends)

    def prepare(self, fixed: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns what the varying part needs to know of the fixed arguments.

        Raises:
            OtherNumbersError: If the function has read other numbers when it was recorded.
        """
        values = dict(enumerate(fixed)) | self.constants
        self._first.run(values)
        for at, number in self._reads:
            if repr(values[at].item()) != repr(number):
                raise OtherNumbersError(f"the function read {number} when it was recorded, not {values[at].item()}.")
        return tuple(values[at] for at in self._cut)

    def __call__(self, prepared: tuple[Tensor, ...], varying: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns what the function returns, as its leaves.

        Args:
            prepared: What ``prepare`` made of the fixed arguments.
            varying: The tensors of the other arguments, in their order.
        """
        values = dict(zip(self._cut, prepared, strict=True)) | dict(enumerate(varying, self._fixed))
        (self._kept if torch.is_grad_enabled() else self._reused).run(values)
        return tuple(values[at] for at in self._outputs)

    @cached_property
    def _kept(self) -> _Program:
        return _Program(self._second, self._outputs)

    @cached_property
    def _reused(self) -> _Program:
        """In memory that is used again; not for gradients."""
        taken = {*range(self._inputs), *self._cut}
        return _Program(_reusing(self._second, self._forms, taken, self._outputs), self._outputs)


def _shortened(tape: Tape) -> tuple[list[Step], list[int], list[tuple[int, int | float | bool]], dict[int, int]]:
    """Returns the steps that are needed, each once and without idle ones, the results, and the numbers read.

    The last are the values that others stand for.
    """
    same: dict[int, int] = {}
    seen: dict[str, Step] = {}
    steps: list[Step] = []
    for step in tape.steps:
        if not same.keys().isdisjoint(step.needs):
            step = Step(step.operation, _renamed(step.args, same), _renamed(step.kwargs, same), step.makes)
        if step.operation in _VIEWS and _alike(tape.forms[step.made[0]], tape.forms[step.needs[0]]):
            same[step.made[0]] = step.needs[0]
            continue
        before = seen.setdefault(step.text, step)
        if before is step:
            steps.append(step)
        else:
            same.update(zip(step.made, before.made, strict=True))
    outputs = [same.get(at, at) for at in tape.outputs]
    reads = [(same.get(at, at), number) for at, number in tape.reads]
    return _needed(steps, [*outputs, *(at for at, _ in reads)]), outputs, reads, same


def _needed(steps: Sequence[Step], outputs: Iterable[int]) -> list[Step]:
    """Returns the steps that some values need."""
    needed, kept = set(outputs), list[Step]()
    for step in reversed(steps):
        if not needed.isdisjoint(step.made):
            needed.update(step.needs)
            kept.append(step)
    return kept[::-1]


def _renamed(value: Any, same: dict[int, int]) -> Any:
    if isinstance(value, Ref):
        return Ref(same[value.at]) if value.at in same else value
    if isinstance(value, tuple | list):
        renamed = [_renamed(one, same) for one in cast("Sequence[Any]", value)]
        return tuple(renamed) if isinstance(value, tuple) else renamed
    if isinstance(value, dict):
        return {name: _renamed(one, same) for name, one in cast("dict[str, Any]", value).items()}
    return value


def _alike(one: Form, other: Form) -> bool:
    return (one.shape, one.stride, one.dtype, one.root) == (other.shape, other.stride, other.dtype, other.root)


_COMMUTATIVE = (torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)


def _reusing(steps: Sequence[Step], forms: Sequence[Form], taken: set[int], outputs: Sequence[int]) -> list[Step]:
    """Returns steps that do the same with less memory and less time.

    The result of an elementwise operation takes the place of an argument where it is the last to need it: fewer
    tensors then go through a CPU's cache.

    Args:
        steps: The steps.
        forms: What is known of the values.
        taken: Values that are never written to.
        outputs: Values that are needed in the end.
    """
    owner = [form.root for form in forms]
    members: dict[int, list[int]] = {}
    for at, root in enumerate(owner):
        members.setdefault(root, []).append(at)
    last = {owner[at]: place for place, step in enumerate(steps) for at in step.needs}
    last |= {owner[at]: len(steps) for at in outputs}
    taken = {owner[at] for at in taken}
    found: list[Step] = []
    for place, step in enumerate(steps):
        written = in_place(step.operation) if isinstance(step.makes, int) and not step.kwargs else None
        count = 2 if step.operation in _COMMUTATIVE else 1
        for argument in step.args[: count if written else 0]:
            at = argument.at if isinstance(argument, Ref) else -1
            free = at >= 0 and owner[at] not in taken and last[owner[at]] == place
            if not free or not _may_take(step, at, forms, owner):
                continue
            rest = step.args[1:] if argument is step.args[0] else (step.args[0], *step.args[2:])
            made, root = step.made[0], owner[at]
            last[root] = last.get(made, place)
            members[root] += members.pop(made)
            for one in members[root]:
                owner[one] = root
            step = Step(written, (argument, *rest), {}, step.makes)
            break
        found.append(step)
    return found


def _may_take(step: Step, at: int, forms: Sequence[Form], owner: Sequence[int]) -> bool:
    """Says whether a result has the form of an argument, whose memory no other argument has."""
    before, after = forms[at], forms[step.made[0]]
    same = (before.shape, before.stride, before.dtype) == (after.shape, after.stride, after.dtype) and before.whole
    return same and all(other == at or owner[other] != owner[at] for other in step.needs)


@dataclass(frozen=True)
class _Line:
    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: tuple[tuple[int, int], ...]
    """Which arguments are which values."""
    nested: tuple[int, ...]
    """Which are lists of such."""
    named: tuple[tuple[str, int], ...]
    """Which of those with names are which values."""
    makes: tuple[int, ...] | int
    frees: tuple[int, ...]
    """Values that nothing needs any more."""


class _Program:
    """Steps to run, some of whose values are kept."""

    def __init__(self, steps: Sequence[Step], kept: Iterable[int]) -> None:
        last = {at: place for place, step in enumerate(steps) for at in (*step.made, *step.needs)}
        frees: dict[int, list[int]] = {}
        for at in last.keys() - set(kept):
            frees.setdefault(last[at], []).append(at)
        self._lines = [_line(step, frees.get(place, [])) for place, step in enumerate(steps)]

    def run(self, values: dict[int, Tensor]) -> None:
        """Computes the values; those that are not kept go as soon as nothing needs them."""
        for line in self._lines:
            args, kwargs = list(line.args), line.kwargs
            for place, at in line.places:
                args[place] = values[at]
            for place in line.nested:
                args[place] = [values[one.at] if isinstance(one, Ref) else one for one in args[place]]
            if line.named:
                kwargs = kwargs | {name: values[at] for name, at in line.named}
            result = line.operation(*args, **kwargs)
            if isinstance(line.makes, int):
                values[line.makes] = result
            else:
                values.update((at, one) for at, one in zip(line.makes, result, strict=True) if at >= 0)
            for at in line.frees:
                del values[at]


def _line(step: Step, frees: Sequence[int]) -> _Line:
    places = tuple((place, one.at) for place, one in enumerate(step.args) if isinstance(one, Ref))
    lists = {place: cast("Sequence[Any]", one) for place, one in enumerate(step.args) if isinstance(one, tuple | list)}
    nested = tuple(place for place, some in lists.items() if any(isinstance(one, Ref) for one in some))
    named = tuple((name, one.at) for name, one in step.kwargs.items() if isinstance(one, Ref))
    return _Line(step.operation, step.args, step.kwargs, places, nested, named, step.makes, tuple(frees))
