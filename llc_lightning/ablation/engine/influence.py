"""How far each example moves an effect: by its own loss, and by what its activation does in the place of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.moments import Counted, RowSums
from llc_lightning.runtime.batches import chunks
from llc_lightning.runtime.seeding import generator


@dataclass(frozen=True)
class Donors:
    """Which examples gave the values that took the place of an example's own."""

    by_draw: Int[Tensor, "draw example place"]
    """Of every example one donor for each draw and place: one place, or one for each position with its own donor."""
    step: float | None = None
    """None where the values are the donors' own activations. Where they are a constant that is estimated from all
    examples, draws of their own move it by this share of the way towards one donor, which tells the derivative."""


@dataclass(frozen=True)
class Entries:
    """Where the packed changes of a block stand, on the losses of one group of columns."""

    example: Int[Tensor, "entry"]
    column: Int[Tensor, "entry"]
    mask: Bool[Tensor, "packed column"]
    """Which of them count."""
    counting: Float[Tensor, "entry"]
    """1 for those that count, else 0."""

    @classmethod
    def of(cls, rows: Int[Tensor, "row"], counted: Counted) -> Entries:
        """Returns the entries of a block.

        Args:
            rows: The examples of the block, by their index.
            counted: Which changes count, and where they stand.
        """
        columns = counted.mask.shape[1]
        index = torch.arange(len(rows) * columns) if counted.index is None else counted.index.cpu()
        return cls(rows[index // columns], index % columns, counted.mask, counted.mask.flatten().cpu().float())

    def index(self, example: Int[Tensor, "entry"]) -> Int[Tensor, "entry"]:
        """Returns where entries of these examples stand, among all examples and columns."""
        return example * self.mask.shape[1] + self.column


_SLAB = 1 << 15
"""Numbers that are worked on at a time."""
_FEW = 10
"""So many times the squares of the mean's own error that a sum lacks examples must be to rely on a difference."""


class Influences:
    """Collects what every example does to the effects of some components, on the losses of one group of columns.

    The effect is ``mean_i mean_r c_ir``, ``c_ir`` the change of the loss of example i under the donors of draw r. Two
    changes are correlated where they share an example, as own example or as donor, so that the variance sums the
    products over all pairs that share one (the dyadic cluster-robust variance of Aronow, Samii and Assenova 2015,
    arXiv:1312.3398): ``sum_j (O_j + D_j)^2 - places * sum c_ir^2`` over ``n^2``, with the centred changes of example j
    itself O_j and of those that it gave to D_j, means over draws; the second term counts each change once. Centring by
    a mean that is estimated from them takes ``((1 + places)^2 - places / draws) / n`` of it away, which is put back. It
    is the variance of the influences ``a_j + d_j - l_j`` without the part that a few draws add to them.

    Of an estimated constant (``Donors.step``) D_j is the derivative of the effect along what example j adds to the
    constant, as its receivers see it: ``e_jr = (c(constant + step (donor - constant)) - c(constant)) / step``. The part
    that differs between draws is noise, and is taken out of the variance.

    In memory are two numbers for every component, loss, and example that counts for it or gave to one that does.

    Args:
        donors: Which examples gave the values.
        blocks: The entries of every block.
        components: The number of components.
        n: The number of examples.
    """

    def __init__(self, donors: Donors, blocks: Sequence[Entries], *, components: int, n: int) -> None:
        columns = blocks[0].mask.shape[1]
        self._donors = donors
        self._own: Tensor | None = None
        self._given: Tensor | None = None
        self._squares = RowSums(torch.zeros(components, columns, dtype=torch.float64))
        counts = torch.zeros(2, n, columns)
        times = len(donors.by_draw) if donors.step is None else 1
        for entries in blocks:
            counts[0].view(-1).index_add_(0, entries.index(entries.example), entries.counting, alpha=times)
            for place in donors.by_draw.movedim(1, -1).flatten(0, 1):
                counts[1].view(-1).index_add_(0, entries.index(place[entries.example]), entries.counting)
        packed = Counted.of(counts.sum(0) > 0)
        self._counts = packed.pack(counts)
        self._shape = (components, *self._counts.shape[1:])
        self._at: Tensor | None = None
        """Where each example and column stands among those; anywhere, where nothing is to be added."""
        if packed.index is not None:
            self._at = torch.zeros(n * columns, dtype=torch.int64)
            self._at[packed.index] = torch.arange(len(packed.index))

    def add(self, entries: Entries, changes: Float[Tensor, "component packed column"]) -> None:
        """Adds how a block's own losses change, the sums over draws; of an estimated constant by the constant itself.

        Args:
            entries: Where the changes stand.
            changes: Packed, of all components.
        """
        own, _ = self._sums(changes)
        self._into(own, changes.masked_fill(~entries.mask, 0), entries.index(entries.example))

    def give(
        self, entries: Entries, changes: Float[Tensor, "some packed column"], *, draw: int, components: slice
    ) -> None:
        """Adds to the donors of one draw what their values do to a block.

        Args:
            entries: Where the changes stand.
            changes: Packed; of a draw that moves a constant the difference to the change by the constant itself.
            draw: The number of the draw among the donors'.
            components: Whose changes these are.
        """
        _, given = self._sums(changes)
        step = self._donors.step
        kept = changes.masked_fill(~entries.mask, 0)
        kept = kept if step is None else kept / step
        self._squares.add(kept.double().square(), components)
        for place in self._donors.by_draw[draw].unbind(-1):
            self._into(given[components], kept, entries.index(place[entries.example]))

    def results(
        self, effects: Float[Tensor, "component column"], *, kept: bool
    ) -> tuple[
        Float[Tensor, "component column"],
        Float[Tensor, "component column"],
        Float[Tensor, "component example column"] | None,
    ]:
        """Returns the standard errors, the skewness of the means, and the influences of the examples.

        These have the standard error as their SD over the root of n.

        Args:
            effects: The means of the changes.
            kept: Whether to return the influences, of losses for which all examples count.
        """
        _, n, columns = self._shape
        # Of many losses a few components at a time, which a CPU's cache holds.
        size = max(1, _SLAB // (n * columns)) if columns > 1 else self._shape[0]
        found = [self._some(effects, some, kept=kept) for some in chunks(self._shape[0], size)]
        influences = [one[2] for one in found if one[2] is not None]
        return (
            torch.cat([one[0] for one in found]),
            torch.cat([one[1] for one in found]),
            torch.cat(influences) if influences else None,
        )

    def _some(self, effects: Tensor, some: slice, *, kept: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns what :meth:`results` does for some of the components."""
        if self._own is None or self._given is None:
            raise RuntimeError("no block of examples was added")
        draws, step = len(self._donors.by_draw), self._donors.step
        own, given = (one[some].view(-1, *self._shape[1:]).cpu().double() for one in (self._own, self._given))
        counts, n, squares = self._counts.double(), self._shape[1], self._squares.total()[some]
        centre = effects[some].cpu().double()[:, None]
        if step is None:
            number, places = counts[0].sum(0) / draws, self._donors.by_draw.shape[-1]
            influences = own.add(given).sub_(centre * counts.sum(0))
            influences = influences.div_(draws) if draws > 1 else influences
            apart = places * (squares - draws * number * centre[:, 0].square()) / draws**2
            taken = (1 + places) ** 2 - places / draws
        else:
            number = counts[0].sum(0)
            derivative = (given - given.sum(1, keepdim=True) / (number * draws) * counts[1]).div_(draws)
            influences = (own - centre * counts[0]).add_(derivative)
            apart = (squares / draws - derivative.square_().sum(1)) / max(draws - 1, 1)
            taken = 1.0
        own = own.sub_(centre * counts[0])
        alone = (own.div_(draws) if step is None and draws > 1 else own).square_().sum(1)
        total = influences.square().sum(1)
        squares = _around_truth(total - apart, taken, alone, number)
        squares = torch.where(squares > 0, squares, total)
        stderr, skew = squares.sqrt() / number, influences.pow(3).sum(1) / squares.pow(1.5)
        if not kept:
            return stderr, skew, None
        spread = (total / (n - 1) / n).sqrt()
        scale = (stderr / torch.where(spread > 0, spread, 1.0))[:, None]
        return stderr, skew, influences * scale

    def _sums(self, like: Tensor) -> tuple[Tensor, Tensor]:
        if self._own is None or self._given is None:
            components, n, columns = self._shape
            self._own, self._given = (like.new_zeros(components, n * columns) for _ in range(2))
        return self._own, self._given

    def _into(self, sums: Tensor, changes: Tensor, index: Int[Tensor, "entry"]) -> None:
        at = index if self._at is None else self._at[index]
        sums.index_add_(1, at.to(sums.device), changes.flatten(1).to(sums.dtype))


def _around_truth(
    squares: Float[Tensor, "component column"],
    taken: float,
    own: Float[Tensor, "component column"],
    number: Float[Tensor, "column"],
) -> Float[Tensor, "component column"]:
    """Returns sums of squares around means that were estimated beside them, as large as around the true ones.

    Args:
        squares: The sums, of influences without what draws add to them.
        taken: How many squares of the mean's own error each lacks, times the number.
        own: Sums of the squared changes of the examples themselves, without what they gave to others.
        number: How many examples count.
    """
    known = torch.where(number > 1, number, torch.nan)
    whole = torch.where(known > 2 * taken, squares * known / (known - taken), 0.0)
    # Of few examples the small difference of large sums may be anything: rather too large than too small.
    return torch.where(known > _FEW * taken, whole, torch.maximum(whole, own * known / (known - 1)))


def together(donors: Sequence[Donors | None]) -> Donors | None:
    """Returns the donors at several hook points as places beside each other, those that all share once."""
    some = [one for one in donors if one is not None]
    if not some:
        return None
    first = some[0].by_draw
    if all(one.by_draw.shape == first.shape and bool((one.by_draw == first).all()) for one in some):
        return some[0]
    return Donors(torch.cat([one.by_draw for one in some], dim=-1), some[0].step)


def donors(n: int, *, seed: int, draw: int, labels: Int[Tensor, "example"] | None = None) -> Int[Tensor, "example"]:
    """Returns for each of ``n`` examples the index of its donor: a uniformly random cyclic permutation.

    With labels there is a cycle for each of them. A cyclic permutation of two or more has no fixed point; a single
    example can only be its own donor.
    """
    return cycle(torch.randperm(n, generator=generator(seed, "donors", draw)), labels)


def cycle(
    order: Int[Tensor, "example"],
    labels: Int[Tensor, "example"] | None,
    real: Bool[Tensor, "example position"] | None = None,
) -> Int[Tensor, "example *position"]:
    """Returns for every example the one before it in an order, within its label where there are labels.

    Where ``real`` says in which examples a position counts, there is one for each position: the nearest in which it
    does.
    """
    donor = torch.empty_like(order) if real is None else torch.empty_like(real, dtype=order.dtype)
    groups = [order]
    if labels is not None:
        known = cast("Tensor", labels.unique())  # pyright: ignore[reportUnknownMemberType]
        groups = [order[labels[order] == label] for label in known]
    for group in groups:
        donor[group] = group.roll(1) if real is None else group[_previous(real[group])]
    return donor


def _previous(real: Bool[Tensor, "example position"]) -> Int[Tensor, "example position"]:
    """Returns for every example the nearest one before it, around the end, in which the position counts."""
    n = len(real)
    twice = torch.where(real.repeat(2, 1), torch.arange(2 * n)[:, None], -1)
    return twice.cummax(0).values[n - 1 : 2 * n - 1] % n
