"""What callers may get wrong, said in one sentence before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from llc_lightning.llc.settings import check_count, check_positive
from llc_lightning.runtime.errors import SettingError


def rungs(n_beta: object) -> list[float]:
    """Returns the n_betas of a ladder, or the one that is given.

    Raises:
        SettingError: If one is not a finite positive number, or is there twice.

    Example:
        >>> rungs(3.0), rungs([1.0, 2.0])
        ([3.0], [1.0, 2.0])
    """
    several = isinstance(n_beta, Sequence) and not isinstance(n_beta, str)
    ladder = list(cast("Sequence[float]", n_beta)) if several else [cast("float", n_beta)]
    for rung in ladder:
        check_positive("n_beta", rung)
    for rung in ladder:
        if ladder.count(rung) > 1:
            raise SettingError(f"n_beta has {rung!r} twice; give each once.")
    return ladder


def check_inputs(
    loss_fn: object, params: object, *, moved: object, seed: object, replicate: object, trivial_loss: object
) -> None:
    """Checks the types of what an estimate is given, and the ranges of its numbers.

    Raises:
        SettingError: If something is not what it must be.
    """
    if not callable(loss_fn):
        raise SettingError(
            f"the loss is of type {type(loss_fn).__name__}; give a function of parameters and a batch, such as "
            "loss_fn(module)."
        )
    if not isinstance(params, Mapping) or not all(_is_named(pair) for pair in cast("Any", params).items()):
        what = "a module" if isinstance(params, nn.Module) else f"of type {type(cast('Any', params)).__name__}"
        raise SettingError(
            f"params is {what}; give a dict of tensors by name, such as dict(module.named_parameters())."
        )
    if moved is not None and not (isinstance(moved, Mapping) and all(map(_is_named, cast("Any", moved).items()))):
        raise SettingError(
            f"moved is of type {type(cast('Any', moved)).__name__}; give a dict of bool tensors by parameter, or None "
            "to move all."
        )
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise SettingError(f"seed is {seed!r}; give an integer.")
    check_count("replicate", replicate, 0)
    if trivial_loss is not None:
        check_positive("trivial_loss", trivial_loss, zero=True)


def _is_named(pair: tuple[object, object]) -> bool:
    return isinstance(pair[0], str) and isinstance(pair[1], Tensor)
