"""Copies of a module to measure on: whatever happens to them, the live module never notices."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from llc_lightning.components.eager import eagerly, plain_parts
from llc_lightning.components.hooks import submodules
from llc_lightning.components.inventory import Listing
from llc_lightning.components.still import standing, stands_still, telling_refusals
from llc_lightning.runtime.batches import Batch, Named, Params
from llc_lightning.runtime.errors import SettingError, unknown

_HOOK_TABLES = ("_forward_hooks", "_forward_pre_hooks")
_BACKWARD_TABLES = ("_backward_hooks", "_backward_pre_hooks")


class Skeleton:
    """A module's methods as functions of its weights.

    They run on a copy of the module that shares the parameters, in eval mode, with buffers of its own that are the same
    in every call, with a silent ``log`` and without backward hooks.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = silent_copy(module)
        self._runner = _Runner(self.module)
        self._names = _aliases(self.module)
        self._buffers = dict(self.module.named_buffers())
        self._eagerly = eagerly(self.module)
        self._standing = standing(self.module)

    @cached_property
    def listing(self) -> Listing:
        """What there is to name in it; read once, since nothing changes it."""
        return Listing(self.module)

    def run(self, method: str, params: Params, batch: Batch) -> Any:
        """Returns what a method of the module returns for a batch, at the given parameters and buffers.

        Args:
            method: The method's name.
            params: Parameters and buffers by name, tied ones by any of their names; those left out are the module's.
            batch: The examples.

        Raises:
            SettingError: If a name is not the module's, or the loss caught what a copy of it is refused.
        """
        # Copies, so that a module that updates a buffer, even in eval mode, leaves no trace for the next call.
        fresh = {name: buffer.clone() for name, buffer in self._buffers.items() if name not in params}
        named: dict[str, Tensor] = {}
        for name, value in (fresh | params).items():
            if name not in self._names:
                raise SettingError(unknown("parameter", name, self._names))
            named.update((f"module.{alias}", value) for alias in self._names[name])
        # torch's own tying corrupts modules that are registered under two paths; every name is passed instead.
        with telling_refusals(self._standing), _without_checkpoints(), self._eagerly():
            return torch.func.functional_call(self._runner, named, (method, batch), tie_weights=False)


def silent_copy(module: nn.Module) -> nn.Module:
    """Returns a copy in eval mode that shares the parameters, and neither logs nor has backward hooks."""
    copied = _copy(module, {id(parameter): parameter for parameter in module.parameters()})
    for part in copied.modules():
        for method in ("log", "log_dict"):
            if isinstance(getattr(part, method, None), MethodType):
                setattr(part, method, _log_nothing)
        for table in _BACKWARD_TABLES:  # torch.func refuses them, and the loss does not depend on them
            vars(part)[table].clear()
    plain_parts(module, copied)
    return copied.eval() if any(part.training for part in copied.modules()) else copied


def independent_copy(module: nn.Module) -> nn.Module:
    """Returns a copy that shares no parameter and no buffer with the module."""
    return _copy(module, {})


@contextmanager
def _without_checkpoints() -> Generator[None]:
    """Runs what a module checkpoints (``torch.utils.checkpoint``) as if it did not.

    What is computed again in the backward pass would be computed of the module's own weights and without its edits,
    since both are put in for the forward pass alone; and vmap refuses it.
    """
    names: dict[str, Any] = {"_checkpoint_without_reentrant_generator": _once, "CheckpointFunction": _Through}
    kept = {name: getattr(checkpoint, name) for name in names if hasattr(checkpoint, name)}
    for name in kept:
        setattr(checkpoint, name, names[name])
    try:
        yield
    finally:
        for name, own in kept.items():
            setattr(checkpoint, name, own)


def _once(*args: Any, **kwargs: Any) -> Generator[None]:
    """Stands for what torch does around a forward pass that is to be repeated."""
    yield


class _Through:
    """Stands for torch's function that repeats another one in the backward pass."""

    @staticmethod
    def apply(function: Any, preserve_rng_state: bool, *args: Any) -> Any:
        """Returns what the function returns."""
        return function(*args)


class _Runner(nn.Module):
    """Lets ``functional_call`` reach any method of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, method: str, batch: Batch) -> Any:
        return getattr(self.module, method)(Named(batch) if isinstance(batch, Mapping) else batch)


def _aliases(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Returns for every name of a parameter or buffer where that tensor is, a module under two paths once.

    To put a tensor into one module twice would leave the first one in it when the module is given its own back.
    """
    places = {
        f"{path}.{name}" if path else name
        for path, part in submodules(module).items()
        for own in (part._parameters, part._buffers)  # pyright: ignore[reportPrivateUsage]
        for name, tensor in own.items()
        if tensor is not None
    }
    groups: dict[int, list[str]] = {}
    for listing in (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)):
        for name, tensor in listing:
            groups.setdefault(id(tensor), []).append(name)
    return {name: tuple(one for one in group if one in places) for group in groups.values() for name in group}


def _copy(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Returns a deep copy; what cannot be copied (locks, open files) is shared, and graphs are cut off."""
    buffers: dict[int, Any] = {id(buffer): buffer.detach().clone() for buffer in module.buffers()}
    known = {**memo, **buffers, **{id(hook): hook for hook in _foreign_hooks(module)}}
    try:
        copied = _deep_copy(module, dict(known))
    except Exception:  # pickle, torch and the attributes' own classes raise what they like
        copied = copy.deepcopy(module, {**known, **_uncopyable(module, known)})
    stands_still(copied, module)
    return copied


def _deep_copy(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Returns what ``copy.deepcopy`` does, in half the time: modules are mostly empty dicts and numbers."""
    plain = [part for part in module.modules() if _is_plain(type(part))]
    for part in plain:
        memo.setdefault(id(part), type(part).__new__(type(part)))
    for part in plain:
        own: dict[str, Any] = {name: _copied(value, memo) for name, value in vars(part).items()}
        cast("nn.Module", memo[id(part)]).__dict__.update(own)
    return copy.deepcopy(module, memo)


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if type(value) in _SIMPLE:
        return value
    empty = _EMPTY.get(type(value))
    return empty() if empty and not value else copy.deepcopy(value, memo)


_SIMPLE = frozenset({bool, int, float, str, type(None)})
_EMPTY: dict[Any, Callable[[], Any]] = {kind: kind for kind in (dict, OrderedDict, list, set)}


def _is_plain(kind: type[nn.Module]) -> bool:
    """Says whether modules of a kind are copied attribute by attribute."""
    if hasattr(kind, "__deepcopy__"):
        return False
    same = ("__setstate__", "__reduce_ex__", "__reduce__", "__getstate__", "__new__")
    return all(getattr(kind, name, None) is getattr(nn.Module, name, None) for name in same)


def _foreign_hooks(module: nn.Module) -> Iterator[MethodType]:
    """Yields hooks that are methods of something outside the module, which a deep copy would copy whole."""
    inside = {id(part) for part in module.modules()}
    for part in module.modules():
        for table in _HOOK_TABLES:
            for hook in vars(part)[table].values():
                if isinstance(hook, MethodType) and id(hook.__self__) not in inside:
                    yield hook


def _uncopyable(module: nn.Module, known: dict[int, Any]) -> dict[int, Any]:
    """Returns what to take for the attributes that cannot be copied."""
    parts = {id(part): part for part in module.modules()}
    found: dict[int, Any] = {}
    for part in parts.values():
        for value in vars(part).values():
            try:
                copy.deepcopy(value, {**known, **parts})
            except Exception:  # attributes refuse to be copied in many ways; these are shared with the copy
                found[id(value)] = value.detach().clone() if isinstance(value, Tensor) else value
    return found


def _log_nothing(*args: Any, **kwargs: Any) -> None:
    """Stands for LightningModule.log in a measurement: nothing of it belongs into the training's log."""
