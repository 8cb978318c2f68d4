"""What of a run is measured where not all of it fits into a budget: whole jobs are left out, in a stated order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import dropwhile, islice, pairwise
from typing import Any

import torch

from llc_lightning.ablation.procedures.attribution import attribution
from llc_lightning.components.component import Component
from llc_lightning.measure.measurements import Plan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.batches import n_examples, take

_SHARES = (0.75, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.02, 0.01, 0.0)
"""Of components, tried one after the other; at least one is measured."""
_DEARER = 1.5
"""Times the least that a moment may cost where others are left out: few components cost nearly what one does."""
SCREENED = 256
"""Examples that components are screened on, at most."""


@dataclass(frozen=True)
class Detail:
    """How much of every plan of a run is measured: the most that each may have."""

    rungs: int
    methods: int
    components: float = 1.0
    """Share of them."""


def details(rungs: int, methods: int) -> Iterator[Detail]:
    """Yields how much is measured, in the order in which jobs are left out: rungs, then methods, then components.

    Args:
        rungs: The most that any plan of the run has.
        methods: The most that any plan has of methods, or of losses that are sampled.

    Example:
        >>> [(each.rungs, each.methods, each.components) for each in details(2, 2)][:4]
        [(2, 2, 1.0), (1, 2, 1.0), (1, 1, 1.0), (1, 1, 0.75)]
    """
    yield from (Detail(kept, methods) for kept in range(rungs, 0, -1))
    yield from (Detail(1, kept) for kept in range(methods - 1, 0, -1))
    yield from (Detail(1, 1, kept) for kept in _SHARES)


@dataclass(frozen=True)
class Kept:
    """What is measured of a plan at one moment; the same on every process."""

    rungs: int
    methods: int
    components: int


class Costs:
    """Seconds of measuring so much: a guess, until something has been measured.

    Args:
        once: Guessed seconds whatever is measured, at every moment.
        each: Guessed seconds of a unit of work.
        first: Guessed seconds that the first measurement takes besides, and no later one.
    """

    def __init__(self, once: float, each: float, first: float = 0.0) -> None:
        self.once, self.each, self.first = once, each, first
        self.points: dict[int, float] = {}
        """Seconds by the units that were measured in them; the newest counts as much as all older of as many."""

    def see(self, units: int, seconds: float) -> None:
        """Learns what a measurement has taken; from the first what a later one would have.

        Example:
            >>> costs = Costs(1.0, 0.2, first=5.0)
            >>> costs.see(10, 9.0)
            >>> costs.of(10), costs.first
            (4.0, 0.0)
        """
        if units:
            # Where the first took less than was guessed, a later one is not taken to cost nothing.
            seconds = max(seconds - self.first, min(seconds, self.of(units)))
            self.first = 0.0
        before = self.points.get(units)
        self.points[units] = seconds if before is None else (before + seconds) / 2

    def of(self, units: int) -> float:
        """Returns the seconds of so many units: on a line between what was seen, and as it goes on beyond that.

        What the first measurement takes besides is not among them. Half of the least that was seen is taken to be
        spent whatever is measured, unless a look had no unit. Beyond a single measurement a unit takes no longer than
        was guessed.

        Example:
            >>> costs = Costs(1.0, 0.2)
            >>> costs.of(10)
            3.0
            >>> costs.see(10, 2.0)
            >>> costs.of(10), costs.of(5), costs.of(20)
            (2.0, 1.5, 3.0)
        """
        if not any(self.points):  # nothing was seen, or no unit
            return self.points.get(0, self.once) + self.each * units
        known = sorted(self.points.items())
        known = known if 0 in self.points else [(0, known[0][1] / 2), *known]
        rising = [(at, max(seconds for _, seconds in known[: place + 1])) for place, (at, _) in enumerate(known)]
        pairs = list(pairwise(rising))
        (low, least), (high, most) = next((pair for pair in pairs if units <= pair[1][0]), pairs[-1])
        slope = (most - least) / (high - low)
        if units > high:
            slope = min(slope, self.each) if len(pairs) == 1 else slope
            return most + slope * (units - high)
        return least + slope * (units - low)


@dataclass
class Account:
    """What the moments of one callback cost, and how many of them have been and are to come."""

    plan: Plan
    components: Sequence[Component]
    costs: Costs
    essential: bool = False
    """Whether the first method at the last moment is left out last of all."""
    done: int = 0
    """Moments at which something was measured."""
    last: int = -1
    """The step of the last moment that was decided."""
    screening: float = 0.0
    """Seconds of choosing components where not all are measured: a guess, until it was done once."""
    _units: dict[Kept, int] = field(default_factory=dict[Kept, int])

    @property
    def whole(self) -> Kept:
        """All of it."""
        return Kept(*self.plan.breadth, len(self.components))

    @cached_property
    def asked(self) -> int:
        """How many jobs all of it is."""
        return len(self.plan.jobs(list(self.components), data=""))

    def kept(self, detail: Detail) -> Kept:
        """Returns what is measured of it at a detail."""
        rungs, methods = self.plan.breadth
        number = max(1, int(detail.components * len(self.components)))
        return Kept(min(rungs, detail.rungs), min(methods, detail.methods), number)

    @property
    def least(self) -> Kept:
        """The least that can be measured."""
        return self.kept(Detail(1, 1, 0.0))

    @property
    def last_of_all(self) -> Kept:
        """What is left out last."""
        return Kept(1, 1, len(self.components)) if self.essential else self.least

    def reserved(self, whole: float) -> float:
        """Returns the seconds to save for what is left out last; for the least where ``whole`` is never so much."""
        least = self.seconds(self.least)
        wanted = self.seconds(self.last_of_all)
        return wanted if wanted <= whole else least if least <= whole else 0.0

    def units(self, kept: Kept) -> int:
        """Returns how much work that is."""
        if kept not in self._units:
            plan = self.plan.narrowed(kept.rungs, kept.methods)
            # Searches come first, and a narrowed plan may have none.
            able = dropwhile(lambda one: not plan.jobs([one], data=""), self.components)
            self._units[kept] = plan.cost(plan.jobs(list(islice(able, kept.components)), data=""))
        return self._units[kept]

    def seconds(self, kept: Kept, moments: int = 1) -> float:
        """Returns what it takes at so many moments from now on, by what is known so far."""
        each = self.costs.of(self.units(kept)) + self.choosing(kept)
        return moments * each + (self.costs.first if moments else 0.0)

    def choosing(self, kept: Kept) -> float:
        """Returns what it takes to choose the components; 0 where all are measured."""
        return self.screening if kept.components < len(self.components) else 0.0


@dataclass(frozen=True)
class Purse:
    """What there is to spend on measuring, in seconds."""

    whole: float
    """For the training, or what there is of it where its length is not known."""
    spent: float
    to_come: Mapping[str, int]
    """Moments to come of every callback, this one included."""
    passed: float = 1.0
    """The share of this callback's moments up to this one, itself included."""
    last: bool = False
    """Whether it is the callback's last."""

    @property
    def left(self) -> float:
        """What is not spent."""
        return self.whole - self.spent


def decide(name: str, accounts: Mapping[str, Account], purse: Purse) -> Kept | None:
    """Returns what a callback measures at a moment of it, None for nothing.

    Jobs are left out until all moments to come fit: rungs of all plans, then methods, then components. Where even the
    least is too much, moments are left out: one is measured when so much has been saved since the last. The effects
    of zero ablation at the last moment are left out last: for them it is saved from the beginning.

    Args:
        name: The callback's.
        accounts: Those of all callbacks of the run, by their names.
        purse: What there is to spend.
    """
    own = accounts[name]
    reserved = {
        other: account.reserved(purse.whole)
        for other, account in accounts.items()
        if account.essential and purse.to_come[other] and not (other == name and purse.last)
    }
    free = purse.left - sum(reserved.values())
    possible = {other: account for other, account in accounts.items() if account.seconds(account.least) <= free}
    chosen = _planned(own, possible, purse, reserved, free) if name in possible else None
    if name in possible and chosen is None:
        chosen = _saved(name, possible, purse, free)
    if not (purse.last and own.essential) or own.seconds(own.last_of_all) > purse.whole:
        return chosen
    return own.last_of_all if chosen is None or own.units(chosen) < own.units(own.last_of_all) else chosen


def _planned(
    own: Account, accounts: Mapping[str, Account], purse: Purse, reserved: Mapping[str, float], free: float
) -> Kept | None:
    """Returns what is measured where all moments to come fit at some detail; None where they do at none."""
    most = [max(each) for each in zip(*(account.plan.breadth for account in accounts.values()), strict=True)]
    for detail in details(*most):
        due = {other: each.seconds(each.kept(detail), purse.to_come[other]) for other, each in accounts.items()}
        # What is reserved is part of what is due.
        beside = sum(due.values()) - sum(min(reserved.get(other, 0.0), due[other]) for other in due)
        if max(beside, own.seconds(own.kept(detail))) <= free:
            return own.kept(detail)
    return None


def _saved(name: str, accounts: Mapping[str, Account], purse: Purse, free: float) -> Kept | None:
    """Returns what can be measured, if so much has been saved; None if not."""
    own = accounts[name]
    behind = [
        account.seconds(account.least)
        for other, account in accounts.items()
        if other != name and account.done < own.done and purse.to_come[other]
    ]
    saved = (free + purse.spent) * purse.passed - purse.spent - sum(behind)
    if own.seconds(own.least) > saved:
        return None
    fits = (own.kept(Detail(1, 1, share)) for share in (1.0, *_SHARES))
    return next(one for one in fits if own.seconds(one) <= min(saved, _DEARER * own.seconds(own.least)))


def screened(snapshot: Snapshot, components: Sequence[Component], number: int) -> list[str]:
    """Returns the addresses of the components to measure: those on which the loss depends most, by its gradient.

    Components without an activation come first, as they are listed; the others follow by the size of the estimated
    effect of their zero ablation on a few examples (attribution patching, Nanda 2023), or as they are listed where
    there is no gradient.

    Args:
        snapshot: Where.
        components: All that could be measured.
        number: How many of them are.
    """
    if number >= len(components):
        return [component.address for component in components]
    few = take(snapshot.data, torch.arange(min(SCREENED, n_examples(snapshot.data))))
    whole = [one.address for one in components if not one.point]
    parts = [one for one in components if one.point]
    try:
        with torch.enable_grad():
            table: Any = attribution(snapshot.loss, snapshot.params, few, parts, "zero", seed=snapshot.seed)
        table = table[(table["component"] != "") & (table["loss"] == "train")]
        effect = dict(zip(table["component"], table["value"].abs().fillna(0.0), strict=True))
    except Exception:  # a gradient is asked for that nothing else may need, and a model refuses it as it likes
        effect = {}
    ranked = sorted((one.address for one in parts), key=lambda address: -effect.get(address, 0.0))
    return [*whole, *ranked][:number]
