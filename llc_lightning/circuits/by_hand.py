"""Masked runs of transformers of attention alone, without the module but for what lies behind the last sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.lanes import Lanes
from llc_lightning.ablation.engine.place import Place
from llc_lightning.ablation.engine.replacing import at_places, lanes_at_once
from llc_lightning.circuits.exchange import VALUE, attended, holds, pattern
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.replacing import Behind
from llc_lightning.circuits.streams import listed
from llc_lightning.circuits.wiring.base import Reader, Sender
from llc_lightning.runtime.batches import chunks


class ByHand:
    """What a subject's parts compute, where every reader is a query, key or value of a head, or the last sum.

    Only what hears something else than in the unablated run is computed, and nothing twice for the same sum.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        *heads, self.last = subject.graph.readers.values()
        few = {point: values[None] for point, values in subject.examples.first.items()}
        self.holds = (
            all(reader.head is not None for reader in heads)
            and self.last.reads is None
            and not self.last.norm
            and subject.graph.wiring.whole
            and holds(heads, few)
        )
        """Whether the network is such a one."""

    @cached_property
    def _place(self) -> Place:
        return self.subject.place([self.last.component])

    @cached_property
    def _lanes(self) -> Lanes:
        """What runs the module from its last sum on."""
        examples, at = self.subject.examples, at_places([self._place], self.subject.examples)
        behind = Behind(at.points, at.positions, (self._place.point,))
        return Lanes(
            examples.loss, examples.params, behind, with_tasks=False, metrics=examples.metrics, mask=examples.mask,
            run=examples.run,
        )  # fmt: skip

    def losses(self, block: int, sums: Float[Tensor, "lane row *position d_model"]) -> Float[Tensor, "lane row"]:
        """Returns the losses, or the metric, of a block of examples with other last sums."""
        examples = self.subject.examples
        batch, point = examples.blocks.batches[block], self._place.point
        known = {point: self.subject.streams.of(batch)[point]}
        found: list[Tensor] = []
        for some in chunks(len(sums), lanes_at_once(sums[0].numel(), sums.device)):
            values = sums[some]
            # Few sizes of a pass, each of which is recorded once.
            more = (1 << (len(values) - 1).bit_length()) - len(values)
            values = torch.cat([values, values[-1:].expand(more, *values.shape[1:])]) if more else values
            where = torch.ones(len(values), *(1,) * (values.ndim - 1), dtype=torch.bool, device=values.device)
            losses = self._lanes(
                batch, [{"where": where, "value": values}], clean=examples.clean[block], known=known
            )  # fmt: skip
            found.append(losses[-1][: len(values) - more, :, 0])
        return torch.cat(found)


def _part(reader: Reader) -> int:
    return -1 if reader.head is None else reader.head.reads


@dataclass(frozen=True)
class Signals:
    """What senders say more than in the unablated run, from the first reader that hears something else on."""

    by_hand: ByHand
    known: Mapping[str, Tensor]
    """The activations of the unablated run."""
    shifts: Float[Tensor, "sender row *position d_model"]
    """What donors say more than each sender."""
    masks: Mapping[str, Float[Tensor, "lane _"]]
    """By reader the shares of what its senders say, which are the first of all."""
    given: Mapping[str, Float[Tensor, "lane _"]]
    """By reader the shares of their donors."""
    _more: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def last_sums(self) -> Float[Tensor, "lane row *position d_model"]:
        """Returns the last sum of every lane."""
        groups: dict[tuple[str, str], list[Reader]] = {}
        for name, reader in self.by_hand.subject.graph.readers.items():
            if name in self.given:
                groups.setdefault((reader.stream, reader.norm), []).append(reader)
        for readers in groups.values():
            some = [reader for reader in readers if self._hears(reader)]
            if readers[0] is self.by_hand.last:
                break
            if some:
                self._heads(some, *self._sums(some))
        sums, which = self._sums([self.by_hand.last])
        return sums[which]

    def _names(self, reader: Reader) -> list[str]:
        return list(self.by_hand.subject.graph.senders)[: self.given[reader.component.address].shape[1]]

    def _live(self, readers: Sequence[Reader]) -> list[int]:
        """Returns the senders that say something else and are heard by one of the readers."""
        names = self._names(readers[0])
        heard = torch.stack([self.masks[reader.component.address] for reader in readers]).flatten(0, 1).any(0)
        on = listed(heard)
        return [at for at, name in enumerate(names) if name in self._more and on[at]]

    def _hears(self, reader: Reader) -> bool:
        return bool(self.given[reader.component.address].any()) or bool(self._live([reader]))

    def _sums(self, readers: Sequence[Reader]) -> tuple[Tensor, Tensor]:
        """Returns sums, and which of them each reader of each lane reads [lane x reader]."""
        names = [reader.component.address for reader in readers]
        shares = torch.stack([self.given[name] for name in names], dim=1).flatten(0, 1).to(self.shifts)
        live, own = self._live(readers), self.known[readers[0].stream]
        which = torch.arange(len(shares), device=shares.device)
        if not live:
            shares, which = cast("tuple[Tensor, Tensor]", cast("Any", shares).unique(dim=0, return_inverse=True))
        given = [at for at, some in enumerate(listed(shares.any(0))) if some]
        sums = own + (shares[:, given] @ self.shifts[given].flatten(1)).view(len(shares), *own.shape)
        if live:
            carried = torch.stack([self.masks[name][:, live] for name in names], dim=1).to(sums)
            more = torch.stack([self._more[self._names(readers[0])[at]] for at in live], dim=1)
            sums += (carried @ more.flatten(2)).view(sums.shape)
        return sums, which

    def _heads(self, readers: Sequence[Reader], sums: Tensor, which: Tensor) -> None:
        """Computes what heads say whose queries, keys or values are made of other sums."""
        streams = self.by_hand.subject.streams
        normalised, which = streams.normalised(readers[0], sums), which.view(-1, len(readers))
        heads: dict[str, dict[int, Tensor]] = {}
        for point in dict.fromkeys(reader.component.point for reader in readers):
            at = [i for i, reader in enumerate(readers) if reader.component.point == point]
            units = torch.tensor([readers[i].unit for i in at], device=which.device).repeat(len(which))
            found = streams.mapped(readers[at[0]], normalised, units, which[:, at].flatten())
            for i, one in zip(at, found.view(-1, len(at), *found.shape[1:]).unbind(1), strict=True):
                heads.setdefault(readers[i].feeds, {})[_part(readers[i])] = one
        for name, made in heads.items():
            self._more[name] = self._said(self.by_hand.subject.graph.senders[name], made)

    def _said(self, sender: Sender, made: Mapping[int, Tensor]) -> Float[Tensor, "lane row *position d_model"]:
        """Returns what a head says more, given some of its query, key and value."""
        reader = next(
            one for one in self.by_hand.subject.graph.readers.values() if one.feeds == sender.component.address
        )
        head, streams = reader.head, self.by_hand.subject.streams
        if head is None:
            raise RuntimeError(f"{sender.component.address} is no head")
        own = [self.known[point].select(-2, head.unit) for point in head.points]
        if VALUE in made and len(made) == 1:  # the pattern stays as it is
            said = pattern(*own[:2]) @ made[VALUE]
        else:
            lanes = len(next(iter(made.values())))
            said = attended(*(made.get(at, one.expand(lanes, *one.shape)) for at, one in enumerate(own)))
        apart = said - self.known[head.output.point].select(-2, head.unit)
        return streams.added(sender.writes[0], apart, torch.full((len(apart),), sender.unit))
