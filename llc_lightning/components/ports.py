"""Hook points as tensors: which call of which submodule, and how its activation is read and replaced there."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from llc_lightning.components.hooks import INPUT, submodules
from llc_lightning.runtime.errors import AddressError, unknown

CALL = ":call"
"""Behind a hook point and before a number from 0: the activation of that call, where there are several."""

_PLACE = re.compile(rf"(?P<path>.*?)(?P<input>{INPUT})?(?:{CALL}(?P<call>[0-9]+))?")

Replace: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Place:
    """A hook point, read."""

    path: str
    """The path of the submodule."""
    is_input: bool
    call: int | None
    """The call that is meant; None for every one."""

    @classmethod
    @lru_cache(4096)
    def of(cls, point: str) -> Place:
        """Returns what a hook point's name says.

        Example:
            >>> Place.of("attn.c_proj:input:call1")
            Place(path='attn.c_proj', is_input=True, call=1)
        """
        found = _PLACE.fullmatch(point)
        if found is None:
            return cls(point, False, None)
        return cls(found["path"], found["input"] is not None, None if found["call"] is None else int(found["call"]))


def calls(point: str, number: int) -> list[str]:
    """Returns the hook points of each call of a submodule that is called so often."""
    return [f"{point}{CALL}{call}" for call in range(number)]


@contextmanager
def replaced(module: nn.Module, point: str, change: Replace) -> Generator[None]:
    """Replaces the activation at a hook point by what ``change`` makes of it.

    Where a module gives several tensors, the first is meant (what attention gives, and not its weights; the sequence of
    a recurrent layer, with its final state following). Where torch's recurrent layers and attention count positions
    first, examples are put first here.

    Raises:
        AddressError: If there is no such hook point, or it gives no tensor.
    """
    place = Place.of(point)
    try:
        part = module.get_submodule(place.path)
    except AttributeError:
        raise AddressError(unknown("hook point", point, [path for path in submodules(module) if path])) from None
    seen = 0

    def meant() -> bool:
        nonlocal seen
        seen += 1
        return place.call is None or place.call == seen - 1

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not meant():
            return inputs
        return (change(_tensor(inputs[0] if inputs else None, point)), *inputs[1:])

    def after(_: nn.Module, inputs: Any, output: Any) -> Any:
        if not meant():
            return output
        value, made = shown(part, output)
        return made(change(_tensor(value, point)))

    handle = part.register_forward_pre_hook(before) if place.is_input else part.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def shown(part: nn.Module, output: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Returns what a module shows of its output, examples first, and what makes an output of another such value."""
    if type(output) not in (tuple, list) or not output or not isinstance(output[0], Tensor):
        return output, lambda value: value
    first, *rest = cast("list[Any]", output)
    turned = isinstance(part, nn.RNNBase | nn.MultiheadAttention) and not part.batch_first and first.ndim == 3

    def made(value: Tensor) -> Any:
        after = [_final(part, value, rest[0])] if isinstance(part, nn.RNNBase) and value.ndim == 3 else rest
        return type(output)([value.transpose(0, 1) if turned else value, *after])

    return first.transpose(0, 1) if turned else first, made


def _final(part: nn.RNNBase, sequence: Tensor, state: Any) -> Any:
    """Returns the final state of a recurrent layer with the part that its sequence ends in, as that now is."""
    several: bool = type(state) is tuple
    hidden = cast("Tensor", state[0] if several else state)
    size = hidden.shape[-1]
    ends = [sequence[:, -1, :size]] + ([sequence[:, 0, size:]] if part.bidirectional else [])
    kept = hidden[: len(hidden) - len(ends)]
    hidden = torch.cat([kept, torch.stack(ends)])
    return (hidden, *state[1:]) if several else hidden


def _tensor(value: Any, point: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise AddressError(
            f"the hook point {point!r} gives a {type(value).__name__}, not a tensor; address the submodule that gives "
            "the tensor."
        )
    return value
