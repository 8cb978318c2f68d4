"""Constants that senders say to all readers whose edges a circuit lacks, the best ones for the circuit as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.edge import Edge
from llc_lightning.runtime.errors import SettingError, at_least

if TYPE_CHECKING:
    from llc_lightning.circuits.gradients import Subject
    from llc_lightning.circuits.masked import MaskedRuns
    from llc_lightning.circuits.wiring.base import Sender


@dataclass(frozen=True)
class Constants:
    """What each sender says where it is ablated, the same on all examples and at all positions."""

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

    def shifts(self, subject: Subject, block: int) -> Float[Tensor, "sender row *position d_model"]:
        """Returns what they add to the sums that hear each sender, on a block of examples."""
        known, found = subject.streams.of(subject.examples.blocks.batches[block]), list[Tensor]()
        for name, sender in subject.graph.senders.items():
            unit, own = torch.tensor([sender.unit]), subject.streams.said(sender, known)
            parts = zip(self.values[name], sender.writes, strict=True)
            written = [subject.streams.added(writes, one[None, None], unit)[0, 0] for one, writes in parts]
            found.append(torch.stack(written).sum(0) - own)
        return torch.stack(found)


def _mean(subject: Subject, sender: Sender) -> tuple[Tensor, ...]:
    found: list[Tensor] = []
    for part in sender.component.members:
        own = subject.examples.activations(part.point)
        if part.units is not None:
            own = own.index_select(part.axis_in(own[0]), torch.tensor(part.units, device=own.device))
            own = own.squeeze(-2) if part.unit_axis == -2 else own
        found.append(own.flatten(0, -2).mean(0))
    return tuple(found)


def _leaf(value: Tensor) -> Tensor:
    return value.detach().clone().requires_grad_(True)


@dataclass(frozen=True)
class FittedConstants:
    """The constants of a circuit, with the loss that they leave on the examples that no search saw."""

    constants: Constants
    loss: float
    """Mean on held-out examples."""
    of: Mapping[str, float]
    """The same of every candidate: ``zero``, ``mean`` and ``fitted``."""


def fit_constants(
    runs: MaskedRuns, edges: Sequence[Edge], *, steps: int = 100, rate: float = 0.01, starts: Sequence[Constants] = ()
) -> FittedConstants:
    """Returns the constants with which a circuit does best, all of them fitted together.

    They are those of optimal ablation (Li & Janson 2024, arXiv:2409.09951), of a circuit instead of a component.
    One half of the blocks of examples is descended on with Adam, from the means (or from a better start); the other
    decides between zero, the means and what the descent came through, so that the result is never worse there.

    Args:
        runs: The network; the donor is not used.
        edges: The circuit.
        steps: Of the descent.
        rate: Of a step.
        starts: Constants to start from as well.

    Raises:
        SettingError: If there are fewer than two blocks of examples.
    """
    at_least(1, steps=steps)
    count = len(runs.subject.examples.blocks)
    if count < 2:
        raise SettingError(
            "constants are fitted on one half of the blocks of examples and chosen on the other, and there is one "
            "block; give more examples, or a Subject with a smaller block."
        )
    seen, held = range(0, count, 2), range(1, count, 2)
    mask = runs.mask(edges)[None]
    losses: dict[str, float] = {}
    best: dict[str, Constants] = {}

    def told(name: str, constants: Constants) -> None:
        with torch.no_grad():
            loss = float(runs(mask, constants=constants, blocks=held).mean())
        if not loss >= losses.get(name, float("inf")):
            losses[name], best[name] = loss, constants.detached()

    with torch.no_grad():
        plain = {"zero": Constants.zeros(runs.subject), "mean": Constants.means(runs.subject)}
    for name, constants in (*plain.items(), *(("fitted", one) for one in starts)):
        told(name, constants)
    start = best[min(losses, key=lambda name: losses[name])].trainable()
    search: Any = torch.optim.Adam(start.tensors, lr=rate)  # whose step is not typed
    for step in range(steps):
        with torch.enable_grad():
            loss = runs(mask, constants=start, blocks=[seen[step % len(seen)]]).mean()
        slopes = torch.autograd.grad(loss, start.tensors, materialize_grads=True)
        for one, slope in zip(start.tensors, slopes, strict=True):
            one.grad = slope
        search.step()
        if step % 10 == 9 or step == steps - 1:
            told("fitted", start)
    chosen = min(losses, key=lambda name: losses[name])
    return FittedConstants(best[chosen], losses[chosen], losses)
