"""Which entries of the parameters a chain moves, and how they are put back among the frozen ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.errors import SettingError

_WIDTHS = ((256, 32), (1024, 16), (4096, 4))
"""Up to how many moved entries how many lanes are stacked; where a lane is larger, it is work enough by itself."""


@dataclass(frozen=True)
class SliceForm:
    """How the moved entries of one parameter lie in it: the ``whole``, ``along`` an axis, or scattered ``entries``.

    ``shape`` is the shape of the moved values: the parameter's, with the axis cut to the number of moved positions;
    for entries the number of entries.
    """

    parameter: str
    form: str
    axis: int
    shape: tuple[int, ...]

    def read(self, full: Tensor, index: Tensor) -> Tensor:
        """Returns the moved values of a full parameter."""
        if self.form == "whole":
            return full
        if self.form == "along":
            return full.index_select(self.axis, index)
        return full.flatten()[index]

    def write(self, full: Tensor, index: Tensor, values: Tensor) -> Tensor:
        """Returns the full parameter with its moved entries replaced."""
        if self.form == "whole":
            return values
        if self.form == "along":
            where = index.view(-1, *(1,) * (full.ndim - 1 - self.axis)).expand(values.shape)
            return full.scatter(self.axis, where, values)
        return full.flatten().scatter(0, index, values).view(full.shape)


@dataclass(frozen=True)
class Layout:
    """The form of all that a chain moves, in the order of the parameters; lanes of one layout can run as one batch."""

    forms: tuple[SliceForm, ...]

    @property
    def sliced(self) -> bool:
        """Whether some parameter is moved in part."""
        return any(form.form != "whole" for form in self.forms)

    @property
    def lanes_per_batch(self) -> int:
        """How many sliced lanes are stacked, exactly: over more or fewer, kernels may have other last bits."""
        return next((width for most, width in _WIDTHS if self.dimension <= most), 1) if self.sliced else 1

    @property
    def dimension(self) -> int:
        """The number of moved entries."""
        return sum(math.prod(form.shape) for form in self.forms)


@dataclass(frozen=True)
class Moved:
    """The moved entries of one lane: their layout, and where each slice lies (positions along the axis, or flat)."""

    layout: Layout
    index: Mapping[str, Tensor]

    def read(self, params: Params) -> dict[str, Tensor]:
        """Returns the moved values of full parameters."""
        return {
            form.parameter: form.read(params[form.parameter], self.index[form.parameter]) for form in self.layout.forms
        }


def moved_entries(params: Params, moved: Mapping[str, Tensor] | None) -> Moved:
    """Returns what a chain moves, from masks by parameter name (absent: frozen; ``None``: everything).

    Raises:
        SettingError: If a mask names no parameter, has another shape, nothing is moved, or a moved parameter is of a
            type in which chains cannot be run.
    """
    masks = dict.fromkeys(params) if moved is None else dict(moved)
    unknown = [name for name in masks if name not in params]
    if unknown:
        raise SettingError(f"moved names {unknown[0]!r}, which is not a parameter; allowed are: {', '.join(params)}")
    forms: list[SliceForm] = []
    index: dict[str, Tensor] = {}
    for name, tensor in params.items():
        if name not in masks:
            continue
        if tensor.dtype not in (torch.float32, torch.float64):
            raise SettingError(
                f"{name!r} is {tensor.dtype}; chains need float32 or float64, since smaller types round their steps "
                "away: give such values, or leave it out of moved."
            )
        mask = masks[name]
        if mask is not None and (mask.shape != tensor.shape or mask.dtype != torch.bool):
            raise SettingError(
                f"the mask of {name!r} is {mask.dtype} of shape {tuple(mask.shape)}; "
                f"it must be bool of the parameter's shape {tuple(tensor.shape)}"
            )
        if mask is not None and not mask.any():
            continue
        form, where = _form(name, tensor, mask)
        forms.append(form)
        index[name] = where
    if not forms:
        raise SettingError("nothing is moved: give at least one mask with a True entry, or moved=None to move all")
    return Moved(Layout(tuple(forms)), index)


def of_one_unit(moved: Moved) -> bool:
    """Says whether all single rows, columns and entries that are moved have the same position: they are one unit's."""
    return len({int(where) for where in moved.index.values() if where.numel() == 1}) <= 1


def stack_index(lanes: Sequence[Moved]) -> dict[str, Tensor]:
    """Returns the index tensors of lanes with one layout, stacked: [lane, position]."""
    return {
        form.parameter: torch.stack([lane.index[form.parameter] for lane in lanes]) for form in lanes[0].layout.forms
    }


def _form(name: str, tensor: Tensor, mask: Tensor | None) -> tuple[SliceForm, Tensor]:
    shape = tuple(tensor.shape)
    if mask is None or bool(mask.all()):
        return SliceForm(name, "whole", 0, shape), torch.zeros(0, dtype=torch.long, device=tensor.device)
    for axis in range(tensor.ndim):
        others = [other for other in range(tensor.ndim) if other != axis]
        hit = mask.sum(others) if others else mask.long()
        positions = hit.nonzero().flatten()
        if bool((hit[positions] == mask.numel() // mask.shape[axis]).all()):
            cut = (*shape[:axis], len(positions), *shape[axis + 1 :])
            return SliceForm(name, "along", axis, cut), positions
    entries = mask.flatten().nonzero().flatten()
    return SliceForm(name, "entries", 0, (len(entries),)), entries
