"""Constants that senders say to all readers whose edges a circuit lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.wiring.base import Sender
from llc_lightning.runtime.errors import SettingError


@dataclass(frozen=True)
class Constants:
    """What each sender says where it is ablated, the same on all examples and at all positions.

    What only fills positions says what it always says, and is in no mean.
    """

    values: Mapping[str, tuple[Float[Tensor, "*unit"], ...]]
    """By sender, for each part of it."""

    @classmethod
    def zeros(cls, subject: Subject) -> Constants:
        """Returns constants that say nothing."""
        return cls({name: tuple(map(torch.zeros_like, one)) for name, one in cls.means(subject).values.items()})

    @classmethod
    def means(cls, subject: Subject) -> Constants:
        """Returns the means of what senders say, over examples and positions."""
        return cls({name: _mean(subject, sender) for name, sender in subject.graph.senders.items()})

    @classmethod
    def of(cls, told: Mapping[str, Sequence[Sequence[float]]], subject: Subject) -> Constants:
        """Returns the constants that a circuit keeps, for the network that it was found on.

        Raises:
            SettingError: If they are not of its senders.
        """
        like = cls.means(subject).values
        shapes = {name: [len(one) for one in some] for name, some in told.items()}
        if shapes != {name: [one.numel() for one in some] for name, some in like.items()}:
            raise SettingError(
                f"constants of {len(told)} senders are given, and the network has {len(like)} of other names or sizes; "
                "give those of a circuit that was found on it, with the same graph."
            )
        return cls({name: tuple(map(_same_as, told[name], some)) for name, some in like.items()})

    def told(self) -> dict[str, tuple[tuple[float, ...], ...]]:
        """Returns the numbers of every sender, for each part of it."""
        return {name: tuple(tuple(map(float, one)) for one in some) for name, some in self.values.items()}

    def trainable(self) -> Constants:
        """Returns the same constants, of which gradients are taken."""
        return Constants({name: tuple(_leaf(one) for one in some) for name, some in self.values.items()})

    def detached(self) -> Constants:
        """Returns a copy of the constants without gradients."""
        return Constants({name: tuple(one.detach().clone() for one in some) for name, some in self.values.items()})

    @property
    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [one for some in self.values.values() for one in some]

    def shifts(self, subject: Subject, block: int) -> list[Float[Tensor, "row *position d_model"]]:
        """Returns what they add to the sums that hear each sender, on a block of examples."""
        known, found = subject.streams.of(subject.examples.blocks.batches[block]), list[Tensor]()
        for name, sender in subject.graph.senders.items():
            unit, own = torch.tensor([sender.unit]), subject.streams.said(sender, known)
            parts = zip(self.values[name], sender.writes, strict=True)
            written = [subject.streams.added(writes, one[None, None], unit)[0, 0] for one, writes in parts]
            found.append(torch.stack(written).sum(0) - own)
        point = next(iter(subject.graph.readers.values())).stream
        real = subject.examples.counting(point, -1)
        if real is None:
            return found
        rows = subject.examples.blocks.rows[block].to(real.device)
        return [torch.where(real[rows], one, 0) for one in found]


def _mean(subject: Subject, sender: Sender) -> tuple[Tensor, ...]:
    found: list[Tensor] = []
    for part in sender.component.members:
        own = subject.examples.activations(part.point)
        real = subject.examples.counting(part.point, part.axis_in(own))
        if part.units is not None:
            own = own.index_select(part.axis_in(own[0]), torch.tensor(part.units, device=own.device))
            if part.unit_axis == -2:
                own, real = own.squeeze(-2), None if real is None else real.squeeze(-2)
        rows = own.flatten(0, -2)
        if real is not None:
            rows = rows[real.expand(*own.shape[:-1], 1).flatten().to(rows.device)]
        found.append(rows.mean(0))
    return tuple(found)


def _same_as(numbers: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)


def _leaf(value: Tensor) -> Tensor:
    return value.detach().clone().requires_grad_(True)
