"""Masked runs of transformers of attention alone, without the module but for what lies behind the last sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.lanes import Lane, Lanes, Losses
from llc_lightning.ablation.engine.replacing import lanes_at_once
from llc_lightning.circuits.exchange import holds, pattern
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.replacing import Start
from llc_lightning.circuits.streams import listed
from llc_lightning.circuits.wiring.base import Reader, Sender
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Params, chunks

_FEW = 4
"""Lanes of a pass up to which none is added."""


class ByHand:
    """What a subject's parts compute, where every reader is a query, key or value of a head, or the last sum.

    Only what hears something else than in the unablated run is computed, and what hears donors alone once.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        *heads, self.last = subject.graph.readers.values()
        self.holds = (
            all(reader.head is not None for reader in heads)
            and self.last.reads is None
            and not self.last.norm
            and subject.graph.wiring.whole
            and all(holds(heads, subject.streams.of(batch)) for batch in subject.examples.blocks.batches)
        )
        """Whether the network is such a one, on all examples: what fills some of them may hide keys there alone."""

    @cached_property
    def _lanes(self) -> Lanes:
        """What runs the module from its last sum on."""
        examples = self.subject.examples
        return _Last(
            examples.loss, examples.params, _From(self.last.component.point), with_tasks=False,
            metrics=examples.metrics, mask=examples.mask, run=examples.run,
        )  # fmt: skip

    def losses(self, block: int, sums: Float[Tensor, "lane row *position d_model"]) -> Float[Tensor, "lane row"]:
        """Returns the losses, or the metric, of a block of examples with other last sums."""
        examples, found = self.subject.examples, list[Tensor]()
        for some in chunks(len(sums), lanes_at_once(sums[0].numel(), sums.device)):
            values = sums[some]
            # Few sizes of a pass, each of which is recorded once.
            more = 0 if len(values) <= _FEW else (1 << (len(values) - 1).bit_length()) - len(values)
            values = torch.cat([values, values[-1:].expand(more, *values.shape[1:])]) if more else values
            (losses,) = self._lanes(examples.blocks.batches[block], [{"value": values}], clean=examples.clean[block])
            found.append(losses[: len(values) - more, :, 0])
        return torch.cat(found)


@dataclass(frozen=True)
class _From:
    """Lanes that start from what they hold at a hook point, which nothing goes past."""

    point: str

    def __call__(self, loss: ModuleLoss, params: Params, lane: Lane, real: Tensor | None) -> tuple[ModuleLoss, Params]:
        """Returns the loss with this activation."""
        return loss.with_edits([Start(self.point, lane[0]["value"])]), params


class _Last(Lanes):
    """Lanes of which one loss is asked for: the metric, where there is one."""

    def _one(self, fixed: Any, varying: Lane) -> Losses:
        return super()._one(fixed, varying)[-1:]


def _part(reader: Reader) -> int:
    return -1 if reader.head is None else reader.head.reads


def _apart(
    sums: Iterable[Float[Tensor, "number"]], shares: Float[Tensor, "sum part"], parts: Float[Tensor, "part number"]
) -> Float[Tensor, "sum number"]:
    """Returns sums with shares of parts, each of those alone of which it has any: 0 of no number is no number."""
    return torch.stack(
        [one.addmv(parts[some != 0].T, some[some != 0]) for one, some in zip(sums, shares, strict=False)]
    )


@dataclass(frozen=True)
class Shares:
    """What a reader hears of its senders, which are the first of all."""

    own: Float[Tensor, "lane sender"]
    """The shares of what they say."""
    given: Float[Tensor, "lane sender"]
    """The shares of what their donors say more."""
    kept: Sequence[bool]
    """Which of them it hears in any lane."""
    exchanged: bool
    """Whether it hears a donor in any lane."""


@dataclass(frozen=True)
class Signals:
    """What senders say more than in the unablated run, from the first reader that hears something else on."""

    by_hand: ByHand
    known: Mapping[str, Tensor]
    """The activations of the unablated run."""
    shifts: Float[Tensor, "sender row *position d_model"]
    """What donors say more than each sender."""
    finite: bool
    """Whether these are finite numbers alone."""
    shares: Mapping[str, Shares]
    """By reader, of those that are heard."""
    read: dict[tuple[str, tuple[float, ...]], Tensor]
    """What readers have given that hear nothing else but shares of donors, by reader and shares, and what sums then
    are, by hook point and shares; added to here."""
    _more: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def last_sums(self) -> Float[Tensor, "lane row *position d_model"]:
        """Returns the last sum of every lane."""
        groups: dict[tuple[str, str], list[Reader]] = {}
        for name, reader in self.by_hand.subject.graph.readers.items():
            if name in self.shares and reader is not self.by_hand.last:
                groups.setdefault((reader.stream, reader.norm), []).append(reader)
        for readers in groups.values():
            live = [reader for reader in readers if self._live([reader])]
            self._heads(live, [one for one in readers if one not in live and self._of(one).exchanged])
        sums = self._sums([self.by_hand.last])
        while sum(one.numel() for one in self.read.values()) > self.shifts.numel():
            self.read.pop(next(iter(self.read)))
        return sums

    def _of(self, reader: Reader) -> Shares:
        return self.shares[reader.component.address]

    def _live(self, readers: Sequence[Reader]) -> dict[int, Tensor]:
        """Returns what senders say more that say something else and are heard by one of the readers, by number."""
        heard = [any(some) for some in zip(*(self._of(reader).kept for reader in readers), strict=True)]
        names = zip(self.by_hand.subject.graph.senders, heard, strict=False)
        return {at: self._more[name] for at, (name, on) in enumerate(names) if on and name in self._more}

    def _sums(self, readers: Sequence[Reader]) -> Float[Tensor, "lane_x_reader row *position d_model"]:
        """Returns the sum of each reader of each lane, in memory that is the caller's."""
        sums, live = self._known(readers), self._live(readers)
        if not live:
            return sums.clone()
        own = torch.stack([self._of(one).own[:, list(live)] for one in readers], dim=1).to(sums)
        some = list(live.values())
        more = some[0][:, None] if len(some) == 1 else torch.stack(some, dim=1)
        flat = sums.view(*own.shape[:2], -1)
        found = torch.baddbmm(flat, own, more.flatten(2))
        if not found.sum().isfinite():  # finite donors too may make heads overflow
            lanes = zip(flat, own, more.flatten(2).expand(len(own), -1, -1), strict=True)
            found = torch.stack([_apart(*lane) for lane in lanes])
        return found.view(sums.shape)

    def _known(self, readers: Sequence[Reader]) -> Float[Tensor, "lane_x_reader row *position d_model"]:
        """Returns the sums as far as donors make them, which are kept."""
        rows = [one for some in zip(*map(self._rows, readers), strict=True) for one in some]
        stream = readers[0].stream
        lacking = [one for one in dict.fromkeys(rows) if (stream, one) not in self.read]
        if lacking:
            found = self._given(readers[0], lacking)
            self.read.update(zip(((stream, one) for one in lacking), found, strict=True))
        one = self.read[stream, rows[0]]
        return (
            one.expand(len(rows), *one.shape)
            if len(set(rows)) == 1
            else torch.stack([self.read[stream, row] for row in rows])
        )

    def _rows(self, reader: Reader) -> list[tuple[float, ...]]:
        """Returns the shares of donors in every lane."""
        return list(map(tuple, listed(self._of(reader).given)))

    def _given(self, reader: Reader, rows: Sequence[Sequence[float]]) -> Float[Tensor, "sum row *position d_model"]:
        """Returns the sums of the unablated run with shares of what donors say more, one sum for each of the rows."""
        own, shares = self.known[reader.stream], self.shifts.new_tensor(rows)
        flat, shifts = own.flatten(), self.shifts[: shares.shape[1]].flatten(1)
        found = torch.addmm(flat, shares, shifts) if self.finite else _apart(repeat(flat), shares, shifts)
        return found.view(len(shares), *own.shape)

    def _heads(self, live: Sequence[Reader], others: Sequence[Reader]) -> None:
        """Computes what heads say whose queries, keys or values are made of other sums, live ones or of donors."""
        found, heads = self._afresh(live) | self._of_donors(others), dict[str, dict[int, Tensor]]()
        for reader in (*live, *others):
            heads.setdefault(reader.feeds, {})[_part(reader)] = found[reader.component.address]
        for name, made in heads.items():
            self._more[name] = self._said(self.by_hand.subject.graph.senders[name], made)

    def _afresh(self, readers: Sequence[Reader]) -> dict[str, Tensor]:
        """Returns what readers give that hear heads which say something else, of every lane."""
        if not readers:
            return {}
        sums = self._sums(readers)
        lanes = len(sums) // len(readers)
        asked = [(reader, range(at, len(sums), len(readers))) for at, reader in enumerate(readers)]
        found = self._read([(reader, at) for reader, some in asked for at in some], sums)
        return {reader.component.address: torch.stack(found[at * lanes : (at + 1) * lanes])
                for at, reader in enumerate(readers)}  # fmt: skip

    def _of_donors(self, readers: Sequence[Reader]) -> dict[str, Tensor]:
        """Returns what readers give that hear nothing else but donors: once where all lanes have the same shares."""
        shares = {one.component.address: self._rows(one) for one in readers}
        wanted = {(name, one): None for name, some in shares.items() for one in some}
        lacking = [key for key in wanted if key not in self.read]
        if lacking:
            rows = list(dict.fromkeys(one for _, one in lacking))
            sums = self._given(readers[0], rows)
            graph = self.by_hand.subject.graph
            found = self._read([(graph.readers[name], rows.index(one)) for name, one in lacking], sums)
            self.read.update(zip(lacking, found, strict=True))
        return {
            name: torch.stack([self.read[name, one] for one in (some if len(set(some)) > 1 else some[:1])])
            for name, some in shares.items()
        }

    def _read(self, asked: Sequence[tuple[Reader, int]], sums: Tensor) -> list[Float[Tensor, "row *position d_head"]]:
        """Returns what readers of one norm make of sums, each of that with a number."""
        streams, found = self.by_hand.subject.streams, dict[int, Tensor]()
        normalised = streams.normalised(asked[0][0], sums)
        for point in dict.fromkeys(reader.component.point for reader, _ in asked):
            at = [i for i, (reader, _) in enumerate(asked) if reader.component.point == point]
            units, which = (torch.tensor(some, device=sums.device) for some in
                            ([asked[i][0].unit for i in at], [asked[i][1] for i in at]))  # fmt: skip
            found.update(zip(at, streams.mapped(asked[at[0]][0], normalised, units, which), strict=True))
        return [found[at] for at in range(len(asked))]

    def _said(self, sender: Sender, made: Mapping[int, Tensor]) -> Float[Tensor, "lane row *position d_model"]:
        """Returns what a head says more, given some of its query, key and value, one for all lanes or one of each."""
        reader = next(
            one for one in self.by_hand.subject.graph.readers.values() if one.feeds == sender.component.address
        )
        head, streams = reader.head, self.by_hand.subject.streams
        if head is None:
            raise RuntimeError(f"{sender.component.address} is no head")
        q, k, v = (made.get(at, self.known[one].select(-2, head.unit)[None]) for at, one in enumerate(head.points))
        lanes = max(len(q), len(k))
        said = pattern(*(one.expand(lanes, *one.shape[1:]) for one in (q, k))) @ v
        apart = said - self.known[head.output.point].select(-2, head.unit)
        added = streams.added(sender.writes[0], apart, torch.full((len(apart),), sender.unit))
        return added.expand(len(self._of(self.by_hand.last).own), *added.shape[1:])
