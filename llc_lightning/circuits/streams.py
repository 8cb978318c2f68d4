"""The sums of the unablated run, and what a reader makes of a sum."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llc_lightning.circuits.wiring.base import Reader, Sender, UnitMap
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params

_KEPT = 1 << 26
"""Numbers of activations that are kept at most."""


class Streams:
    """What edges need of a network besides their senders: sums, and the maps from and to them.

    Args:
        loss: The module's loss.
        params: The weights.
        points: The hook points that will be asked for.
    """

    def __init__(self, loss: ModuleLoss, params: Params, points: Sequence[str]) -> None:
        self.loss, self.params = loss, params
        self._points = list(dict.fromkeys(points))
        self._known: OrderedDict[int, tuple[Batch, dict[str, Tensor]]] = OrderedDict()

    def of(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the activations of the unablated run, by hook point; those of the latest batches are kept."""
        # A batch that is kept cannot be mistaken for another with its id.
        if id(batch) not in self._known:
            self._known[id(batch)] = (batch, self.loss.activations(self.params, batch, self._points))
            while len(self._known) > 1 and self._numbers > _KEPT:
                self._known.popitem(last=False)
        return self._known[id(batch)][1]

    def know(self, batch: Batch, caught: dict[str, Tensor]) -> None:
        """Keeps the activations of the unablated run on a batch, where they are known already."""
        self._known[id(batch)] = (batch, caught)

    @property
    def _numbers(self) -> int:
        return sum(values.numel() for _, caught in self._known.values() for values in caught.values())

    @cached_property
    def _names(self) -> dict[str, str]:
        """The name among the weights of every parameter and buffer, by each of its names."""
        module = self.loss.module
        every = [
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ]
        first: dict[int, str] = {}
        for name, tensor in every:
            if id(tensor) not in first or name in self.params:
                first[id(tensor)] = name
        return {name: first[id(tensor)] for name, tensor in every}

    def weight(self, name: str) -> Tensor:
        """Returns a parameter or buffer."""
        if name in self.params:  # finding all names takes longer than many a forward pass
            return self.params[name]
        known = self._names[name]
        return self.params[known] if known in self.params else self.loss.module.get_parameter(known)

    def added(
        self, writes: UnitMap | None, difference: Float[Tensor, "lane row *position input"], units: Int[Tensor, "lane"]
    ) -> Float[Tensor, "lane row *position d_model"]:
        """Returns what a difference of each lane's sender adds to the sum."""
        return difference if writes is None else _mapped(difference, self.matrix(writes, units))

    def said(self, sender: Sender, known: Mapping[str, Tensor]) -> Float[Tensor, "row *position d_model"]:
        """Returns what a sender adds to the sum, given the activations by hook point."""
        unit, total = torch.tensor([sender.unit]), torch.zeros(())
        for part, writes in zip(sender.component.members, sender.writes, strict=True):
            own = known[part.point]
            if part.units is not None:
                own = own.index_select(part.axis_in(own[0]), torch.tensor(part.units, device=own.device))
                own = own.squeeze(-2) if part.unit_axis == -2 else own
            total = total + self.added(writes, own[None], unit)[0]
        return total

    def read(
        self,
        reader: Reader,
        sums: Float[Tensor, "sum row *position d_model"],
        units: Int[Tensor, "lane"],
        which: Int[Tensor, "lane"] | None = None,
    ) -> Float[Tensor, "lane row *position output"]:
        """Returns what each lane's reader makes of a sum; all lanes have the same map and norm as ``reader``.

        Args:
            reader: One of them.
            sums: The sums, each of which several lanes may read.
            units: The readers' units.
            which: The sum of each lane; None for one each.
        """
        which = torch.arange(len(units), device=sums.device) if which is None else which
        return self.mapped(reader, self.normalised(reader, sums), units, which)

    def mapped(
        self,
        reader: Reader,
        sums: Float[Tensor, "sum row *position d_model"],
        units: Int[Tensor, "lane"],
        which: Int[Tensor, "lane"],
    ) -> Float[Tensor, "lane row *position output"]:
        """Returns what the maps of lanes' readers make of normalised sums; see :meth:`read`."""
        if reader.reads is None:
            return sums[which]
        mine = torch.tensor(sorted(set(listed(units))), device=units.device)
        own = torch.searchsorted(mine, units)
        flat, matrix = sums.flatten(1, -2), self.matrix(reader.reads, mine)
        if len(sums) * len(mine) <= 2 * len(units):  # most pairs are asked for: one product for all
            every = flat @ matrix.transpose(0, 1).flatten(1)
            found = every.view(*every.shape[:2], len(mine), -1).movedim(-2, 1)[which, own]
        else:
            found = flat[which] @ matrix[own]
        if reader.reads.bias_view is not None:
            found = found + reader.reads.bias_view(self.weight(reader.reads.bias))[units][:, None]
        return found.view(len(units), *sums.shape[1:-1], found.shape[-1])

    def normalised(self, reader: Reader, stream: Float[Tensor, "lane row *position d_model"]) -> Tensor:
        """Returns what a reader's map is applied to."""
        return self.called(reader.norm, stream.flatten(0, 1)).view(stream.shape) if reader.norm else stream

    def called(self, path: str, values: Tensor) -> Tensor:
        """Returns what a submodule makes of some values, at these weights."""
        part: nn.Module = self.loss.module.get_submodule(path)
        own = {name: self.weight(f"{path}.{name}") for name, _ in part.named_parameters()}
        return torch.func.functional_call(part, own, (values,), tie_weights=False)

    def matrix(self, through: UnitMap, units: Int[Tensor, "lane"]) -> Float[Tensor, "lane input output"]:
        """Returns the matrices of some units."""
        return through.view(self.weight(through.weight))[units.to(self.weight(through.weight).device)]


def listed(values: Tensor) -> list[Any]:
    """Returns the numbers of a tensor of one axis."""
    return cast("Any", values).tolist()


def _mapped(values: Float[Tensor, "lane *any input"], matrix: Float[Tensor, "lane input output"]) -> Tensor:
    return (values.flatten(1, -2) @ matrix).view(*values.shape[:-1], matrix.shape[-1])
