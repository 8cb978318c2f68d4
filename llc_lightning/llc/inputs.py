"""What callers may get wrong, said in one sentence before anything is computed."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from llc_lightning.components.loss import ModuleLoss, TaskLoss
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.llc.tasks import Tasks
from llc_lightning.runtime.errors import SettingError, at_least, not_negative, positive, unless_none


def rungs(n_beta: object) -> list[float]:
    """Returns the n_betas of a ladder (a sequence or an array), or the one that is given.

    Raises:
        SettingError: If one is not a finite positive number, or is there twice.

    Example:
        >>> rungs(3.0), rungs([1.0, 2.0])
        ([3.0], [1.0, 2.0])
    """
    if isinstance(n_beta, np.ndarray | np.generic | Tensor):
        n_beta = cast("object", cast("Any", n_beta).tolist())
    ladder = list(cast("Sequence[float]", n_beta)) if is_ladder(n_beta) else [cast("float", n_beta)]
    for rung in ladder:
        positive(n_beta=rung)
    for rung in ladder:
        if ladder.count(rung) > 1:
            raise SettingError(f"n_beta has {rung!r} twice; give each once.")
    return [float(rung) for rung in ladder]


def is_ladder(n_beta: object) -> bool:
    """Says whether several n_betas are given."""
    if isinstance(n_beta, np.ndarray | np.generic | Tensor):
        return n_beta.ndim > 0
    return isinstance(n_beta, Sequence) and not isinstance(n_beta, str)


def check_types(parts: object, resolutions: object, settings: object, tasks: object) -> None:
    """Checks that the arguments of ``estimate_parts`` are what their annotations say.

    Raises:
        SettingError: If one is not.
    """
    for name, given, wanted in (("parts", parts, Restriction), ("resolutions", resolutions, Resolution)):
        if not isinstance(given, Sequence) or not all(isinstance(one, wanted) for one in cast("Any", given)):
            raise SettingError(f"{name} is {given!r}; give a list of {wanted.__name__}.")
    if not isinstance(settings, ChainSettings):
        raise SettingError(f"settings is of type {type(settings).__name__}; give ChainSettings.")
    if tasks is not None and not isinstance(tasks, Tasks):
        raise SettingError(
            f"tasks is of type {type(tasks).__name__}; give tasks_of_masks(...) or tasks_of_module(...)."
        )


def check_start(start: Mapping[str, Tensor], params: Mapping[str, Tensor]) -> None:
    """Checks that chains can start at other values of the parameters.

    Raises:
        SettingError: If they are not of the same names, shapes and types.
    """
    given, wanted = (
        {name: (tuple(value.shape), value.dtype, str(value.device)) for name, value in values.items()}
        for values in (start, params)
    )
    for name in (*wanted, *given):
        if given.get(name) != wanted.get(name):
            raise SettingError(
                f"start has {given.get(name, 'nothing')} as {name!r}, where params has {wanted.get(name, 'nothing')}; "
                "give the same parameters at other values."
            )


def check_inputs(
    loss_fn: object, params: object, *, moved: object, seed: object, replicate: object, trivial_loss: object
) -> None:
    """Checks the types of what an estimate is given, and the ranges of its numbers.

    Raises:
        SettingError: If something is not what it must be.
    """
    if not callable(loss_fn) or isinstance(loss_fn, nn.Module):
        raise SettingError(
            f"the loss is of type {type(loss_fn).__name__}; give a function of parameters and a batch, such as "
            "loss_fn(module)."
        )
    if not isinstance(params, Mapping) or not all(_is_named(pair) for pair in cast("Any", params).items()):
        what = "a module" if isinstance(params, nn.Module) else f"of type {type(cast('Any', params)).__name__}"
        raise SettingError(
            f"params is {what}; give a dict of tensors by name, such as dict(module.named_parameters())."
        )
    if moved is not None and not isinstance(moved, Mapping):
        raise SettingError(
            f"moved is of type {type(cast('Any', moved)).__name__}; give a dict of bool tensors by parameter, or None "
            "to move all."
        )
    for name, mask in cast("Mapping[object, object]", moved or {}).items():
        if not _is_named((name, mask)):
            raise SettingError(
                f"moved has {name!r} with a {type(mask).__name__}; give a bool tensor by the name of a parameter."
            )
    if isinstance(loss_fn, ModuleLoss | TaskLoss):
        _check_tied(loss_fn.module, cast("Mapping[str, Tensor]", params))
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise SettingError(f"seed is {seed!r}; give an integer.")
    at_least(0, replicate=replicate)
    not_negative(**unless_none(trivial_loss=trivial_loss))


def _check_tied(module: nn.Module, params: Mapping[str, Tensor]) -> None:
    """Checks that no parameter goes by two names, of which a chain would move two copies.

    Raises:
        SettingError: If one does.
    """
    names: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if name in params and names.setdefault(id(parameter), name) != name:
            raise SettingError(
                f"{names[id(parameter)]!r} and {name!r} are one parameter; give it once, as dict(module."
                "named_parameters()) does."
            )


def _is_named(pair: tuple[object, object]) -> bool:
    return isinstance(pair[0], str) and isinstance(pair[1], Tensor)
