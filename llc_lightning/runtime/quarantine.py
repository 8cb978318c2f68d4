"""Runs a measurement on a live module without leaving a trace in it, whatever the measurement does."""

import random
from collections.abc import Callable, Generator, MutableMapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Undo = Callable[[], None]

_TABLES = (
    "_parameters",
    "_buffers",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_TENSOR_HOOK_TABLES = ("_backward_hooks", "_post_accumulate_grad_hooks")


@contextmanager
def quarantine(module: nn.Module) -> Generator[None]:
    """Puts everything back that a measurement may change, bit for bit, also when the measurement raises.

    Put back are: the random states of Python, NumPy and torch (CPU and CUDA), the default dtype, and of every submodule
    the train flag, the hooks, the parameters and buffers (which tensor, its values, ``requires_grad``) and their
    ``.grad`` (which tensor and its values, so partial sums of gradient accumulation survive). Inside, gradients are
    recorded even when entered under ``no_grad`` or ``inference_mode``, and autocast is off. The number of threads is
    left alone.

    Costs one copy of the parameters, buffers and gradients while it lasts.

    Args:
        module: The module under training, not wrapped by DDP.
    """
    with ExitStack() as undo:
        undo.callback(_random_states())
        undo.callback(torch.set_default_dtype, torch.get_default_dtype())
        undo.enter_context(torch.inference_mode(mode=False))
        undo.enter_context(torch.enable_grad())
        for device_type in {"cpu", *(tensor.device.type for tensor in module.parameters())} - {"meta"}:
            undo.enter_context(torch.autocast(device_type, enabled=False))
        for submodule in module.modules():
            undo.callback(_submodule(submodule))
        for tensor in (*module.parameters(), *module.buffers()):
            undo.callback(_tensor(tensor))
        yield


def _random_states() -> Undo:
    import numpy as np

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    # Asking an uninitialised CUDA would set it up on every device.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def undo() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    return undo


def _submodule(module: nn.Module) -> Undo:
    """Remembers the flags, the hooks, and which tensors the module holds under which names."""
    # Compiled and scripted modules keep some of it elsewhere, where nothing is changed.
    known = [vars(module).get(name) for name in _TABLES]
    tables: list[MutableMapping[Any, Any]] = [table for table in known if isinstance(table, dict)]
    saved = [dict(table) for table in tables]
    flags = {name: vars(module)[name] for name in ("training", "_is_full_backward_hook") if name in vars(module)}

    def undo() -> None:
        for table, before in zip(tables, saved, strict=True):
            _put_back(table, before)
        vars(module).update(flags)

    return undo


def _tensor(tensor: Tensor) -> Undo:
    values, requires_grad = tensor.detach().clone(), tensor.requires_grad
    grad = tensor.grad if tensor.is_leaf else None
    grad_values = None if grad is None else grad.detach().clone()
    tables = {name: getattr(tensor, name, None) for name in _TENSOR_HOOK_TABLES}
    hooks = {name: None if table is None else dict(table) for name, table in tables.items()}

    def undo() -> None:
        _write_back(tensor, values)
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        if grad is not None and grad_values is not None:
            _write_back(grad, grad_values)
        if tensor.is_leaf and tensor.grad is not grad:
            tensor.grad = grad
        for name, before in hooks.items():
            table = getattr(tensor, name, None)
            if table is not None:
                _put_back(table, before or {})
            if before is None and table is not None:
                setattr(tensor, name, None)

    return undo


def _write_back(tensor: Tensor, values: Tensor) -> None:
    if (tensor.shape, tensor.dtype, tensor.device) != (values.shape, values.dtype, values.device):
        tensor.data = values
    elif not _same_bits(tensor, values):
        with torch.inference_mode():  # the one mode that may write to normal and to inference tensors
            tensor.copy_(values)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if a.layout != torch.strided:  # gradients of sparse embeddings, which torch does not compare
        return False
    signs = not a.is_floating_point() or torch.equal(a.signbit(), b.signbit())  # since 0.0 equals -0.0
    return signs and torch.equal(a, b)


def _put_back(table: MutableMapping[Any, Any], before: dict[Any, Any]) -> None:
    """Gives the table its old content in place, since handles that remove hooks hold on to the table itself."""
    table.clear()
    table.update(before)
