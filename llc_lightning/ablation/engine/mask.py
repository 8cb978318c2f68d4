"""Which positions of examples count: padding, and what else is left out, enters no mean, donor, constant or metric."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.entries import entry
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, n_examples
from llc_lightning.runtime.errors import DataError, SettingError

_UNEQUAL = re.compile(r"(?P<name>.+?)\s*!=\s*(?P<number>-?\d+)")
_IGNORED = -100
"""What targets that do not count are by torch's default (``ignore_index``)."""
_MASKED = -1e4
"""Scores below it are those of masked keys."""


@dataclass(frozen=True)
class Mask:
    """Reads from examples which of their positions count."""

    loss: ModuleLoss
    params: Params
    name: str = ""
    """An entry of the examples, true (or 1) where a position counts; ``NAME!=NUMBER`` for the positions at which an
    entry is not that number, such as the token that fills padding; '' for the module's ``mask(batch)``."""

    @classmethod
    def of(cls, loss: ModuleLoss, params: Params, name: str = "") -> "Mask | None":
        """Returns the mask that a name means, else the module's own; None where there is neither."""
        own = callable(getattr(type(loss.module), "mask", None))
        return cls(loss.with_edits(()), params, name) if name or own else None

    def __call__(self, batch: Batch) -> Bool[Tensor, "example position"]:
        """Returns which positions count.

        Raises:
            SettingError: If the examples have no entry of the name.
            DataError: If it is no mask of them, or an example has no position that counts.
        """
        found = self._read(batch)
        what = f"the mask {self.name!r}" if self.name else "the module's mask(batch)"
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != n_examples(batch):
            told = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"type {type(found).__name__}"
            raise DataError(f"{what} has {told}; it must be [example, position] for {n_examples(batch)} examples.")
        real = found != 0
        if found.dtype != torch.bool and not torch.equal(real.to(found.dtype), found):
            raise DataError(
                f"{what} holds other numbers than 0 and 1; give one that is true where a position counts, or write "
                f"'{self.name or 'NAME'}!=NUMBER' for all positions that are not this number, such as "
                f"'labels!={_IGNORED}'."
            )
        empty = (~real.any(1)).nonzero().flatten()
        if len(empty):
            raise DataError(f"example {int(empty[0])} has no position that counts by {what}; leave such examples out.")
        return real

    def _read(self, batch: Batch) -> Any:
        if not self.name:
            return self.loss.asked("mask", self.params, batch)
        unequal = _UNEQUAL.fullmatch(self.name)
        return entry(batch, unequal["name"]) != int(unequal["number"]) if unequal else entry(batch, self.name)


def check_mask(name: object) -> None:
    """Checks the name of a mask.

    Raises:
        SettingError: If it is no text.
    """
    if not isinstance(name, str):
        raise SettingError(
            f"mask is of type {type(name).__name__}; give the name of an entry of the examples, such as "
            "'attention_mask' or '1', or give the module a method mask(batch)."
        )


def spread(
    real: Bool[Tensor, "example position"], axes: Sequence[int], ndim: int
) -> Bool[Tensor, "example *entry"] | None:
    """Returns the mask to broadcast against activations; None where they have no positions.

    Args:
        real: Which positions count.
        axes: The axes of positions, counted from the end; an entry counts where all of its positions do.
        ndim: The number of axes of one example's activation.
    """
    spreads = [real.view(len(real), *(real.shape[1] if axis == at else 1 for at in range(-ndim, 0))) for axis in axes]
    return None if not spreads else spreads[0] if len(spreads) == 1 else spreads[0] & spreads[1]


def position_axes(
    activation: Tensor, unit_axis: int, real: Bool[Tensor, "example position"], point: str
) -> tuple[int, ...]:
    """Returns the axes of an activation along which the positions of a mask lie, counted from the end.

    They lie between examples and units, else behind the units. Attention patterns and scores [.., query, key] have two:
    both last axes are as long as the mask, and what is heard from masked keys is one filling.

    Args:
        activation: On some examples.
        unit_axis: Axis of the units, counted from the end.
        real: Which positions of these examples count.
        point: The hook point, for messages.

    Raises:
        DataError: If there are axes of positions, and none is as long as the mask.
    """
    ndim, size = activation.ndim, real.shape[1]
    if ndim > 2 and activation.shape[-2:] == (size, size) and _hears_nothing(activation, real):
        return (-2, -1)
    among = range(1 - ndim, unit_axis) or range(unit_axis + 1, 0)
    found = [axis for axis in among if activation.shape[axis] == size]
    if among and not found:
        raise DataError(
            f"the mask has {size} positions, and the activation at {point!r} has shape {tuple(activation.shape[1:])} "
            "per example, without an axis of so many; give a mask of its positions, or address another hook point."
        )
    return tuple(found[:1])


class Counting:
    """Says which activations of some components count, for edits of one's own.

    Args:
        mask: Says which positions count; None where all do.
        members: The components, each at one hook point.
    """

    def __init__(self, mask: Mask | None, members: Sequence[Component]) -> None:
        self._mask, self._at = mask, {member.point: member for member in members}

    def __call__(
        self, values: Mapping[str, Tensor], *batches: Batch
    ) -> dict[str, Bool[Tensor, "example *entry"] | None] | None:
        """Returns which activations count, by hook point; None where all do.

        Args:
            values: The activations on the last of the batches.
            *batches: Examples that meet there: a position must count in all of them.
        """
        if self._mask is None:
            return None
        real = [self._mask(batch) for batch in batches]
        every = torch.stack(real).all(0)
        axes = {
            point: position_axes(seen, self._at[point].axis_in(seen[0]), real[-1], point)
            for point, seen in values.items()
        }
        return {point: spread(every, axes[point], values[point].ndim - 1) for point in values}


def _hears_nothing(pattern: Float[Tensor, "example *head query key"], real: Bool[Tensor, "example position"]) -> bool:
    """Says whether what queries hear from masked keys is one number, such as 0, or below all that is heard."""
    masked = real[:, :, None] & ~real[:, None, :]
    values = pattern.movedim((-2, -1), (1, 2))[masked].flatten()
    return len(values) > 0 and bool(((values == values[0]) | (values < _MASKED)).all())


def warn_of_padding(data: Batch) -> None:
    """Warns, in one sentence, where examples look padded: a user who gives no mask may have forgotten it."""
    named: Mapping[str, Tensor] = data if isinstance(data, Mapping) else {}
    if not named:
        named = {"0": data} if isinstance(data, Tensor) else {str(i): one for i, one in enumerate(cast("Any", data))}
    signs = [sign for name, values in named.items() for sign in _signs(name, values)]
    if signs:
        warnings.warn(
            f"the examples look padded ({signs[0]}) and no mask is given, so that padding enters means, donors and "
            "metrics; name the entry that tells what counts, such as mask='attention_mask' or mask='labels!=-100', or "
            "give the module a method mask(batch).",
            stacklevel=3,
        )


def _signs(name: str, values: Tensor) -> Iterator[str]:
    """Yields what makes an entry of the examples look padded."""
    if values.ndim != 2 or values.shape[1] < 2 or values.is_floating_point() or values.is_complex():
        return
    if "mask" in name and bool((values == 0).any()) and bool(((values == 0) | (values == 1)).all()):
        yield f"{name!r} has zeros"
    elif values.dtype != torch.bool:
        for where, ordered in (("ends", values), ("begins", values.flip(1))):
            token = int(ordered[:, -1].mode().values)
            # Where a text begins, targets are left out on purpose.
            if _is_filled(ordered, token) and not (token == _IGNORED and where == "begins"):
                yield f"{name!r} {where} in runs of {token}"


def _is_filled(values: Int[Tensor, "example position"], token: int) -> bool:
    """Says whether rows end in runs of a token that stands nowhere else, and fills more here and less there."""
    often = int((values[:, -2:] == token).all(1).sum()) * 20 >= max(len(values), 40)  # the cheapest, asked first
    low, high = values.aminmax()
    if not often or ((values == low) | (values == high)).all():
        return False  # of two numbers neither fills
    runs = (values == token).flip(1).cumprod(1).sum(1)
    alone = token == _IGNORED or int((values == token).sum()) == int(runs.sum())
    return alone and int(runs.min()) < int(runs.max())
