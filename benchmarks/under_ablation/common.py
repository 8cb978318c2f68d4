"""What common random numbers save, and what an ablation changes where next to nothing should change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import hypot
from statistics import median

import torch

from benchmarks.truth.smooth_points import around
from benchmarks.under_ablation.misses import Off, verdict, within
from benchmarks.under_ablation.nets import Net, by_component, cis, first, heads, never_firing, planted, unread
from benchmarks.under_ablation.removal import REMOVAL, SIZES, smooth
from llc_lightning.exact import reduced_rank_value
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.results.schema import Row

SEEDS = range(3)
RATIOS = {"planted": 0.6, "cis": 0.6, "reduced rank": 0.8}
"""What is asked of the median ratio of errors, by net."""


@dataclass(frozen=True)
class Change:
    """What ablating a component does to the coefficient."""

    shift: Row
    ratio: float
    """Its error over that of the difference of two runs with seeds of their own."""


def common(_: int = 0) -> bool:
    """Prints the tables; returns whether what is asked is kept."""
    print("\n## Errors of changes of the LLC: by common random numbers over those of independent runs (two seeds)")
    constructed = [(net, changes(net)) for net in map(planted, SEEDS)]
    ranks = [Net("reduced rank", next(smooth(size)), REMOVAL) for size in SIZES]
    some = {
        "planted": [one for _, found in constructed for one in found],
        "cis": changes(first(cis(), 8)),
        "reduced rank": [one for net in ranks for one in changes(net)],
    }
    kept = [_ratio(name, found) for name, found in some.items()]
    print("\n## Where next to nothing should change; asked: within 2 errors for >= 90 %")
    silent, idle = (
        [(net, [one.shift for one in found if one.shift.component in of(net)]) for net, found in constructed]
        for of in (never_firing, unread)
    )
    alone = [(net, _shifts(measure(net.plan, net.at).rows)) for net in map(heads, SEEDS)]
    kept += [
        _share("neurons that never fire: 0", [Off.of(row) for _, rows in silent for row in rows]),
        _share("neurons that nothing reads: -wrLLC to 0", [one for net, rows in idle for one in _outside(net, rows)]),
        _share("heads that nothing reads: -wrLLC to 0", [one for net, rows in alone for one in _outside(net, rows)]),
    ]
    return all([*kept, *_unused()])


def changes(net: Net) -> list[Change]:
    """Returns what ablating each component changes, and how errors compare with runs by two seeds."""
    plan = replace(net.plan, closure=False)
    first, second = (measure(plan, net.at, replicate=replicate).rows for replicate in (0, 1))
    (whole,) = (row for row in first if row.quantity == "llc_ablated" and not row.component)
    again = by_component(second)
    return [
        Change(rows["llc_shift"], rows["llc_shift"].stderr / hypot(again[address]["llc_ablated"].stderr, whole.stderr))
        for address, rows in by_component(first).items()
    ]


def _shifts(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.quantity == "llc_shift"]


def _ratio(name: str, changed: list[Change]) -> bool:
    # What never fires changes nothing, without an error: that is no saving of common numbers.
    ratios = [one.ratio for one in changed if one.ratio > 0]
    kept = median(ratios) <= RATIOS[name]
    told = f"{len(ratios):3} changes: median {median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}"
    print(f"{name:14}{told} (asked <= {RATIOS[name]:g}){verdict(kept)}", flush=True)
    return kept


def _share(what: str, some: list[Off]) -> bool:
    share = within(some, 2)
    print(f"{what:42}{len(some):3}, within 2 errors {share:.0%}{verdict(share >= 0.9)}", flush=True)
    return share >= 0.9


def _outside(net: Net, shifts: list[Row]) -> list[Off]:
    """Returns how far changes lie outside of what is from minus the LLC of a component's own weights to 0."""
    plan = net.plan
    addresses = tuple(row.component for row in shifts)
    alone = LLCPlan(components=addresses, n_beta=plan.n_beta, gamma=plan.gamma, settings=plan.settings)
    own = {row.component: row for row in measure(alone, net.at).rows if row.quantity == "llc"}
    for row in shifts:
        other = own[row.component]
        told = f"{row.value:6.2f} +- {row.stderr:.2f}, wrLLC {other.value:.2f} +- {other.stderr:.2f}  {row.status}"
        print(f"    {net.name} {row.component}: {told}", flush=True)
    return [Off.outside(row, own[row.component]) for row in shifts]


def _unused() -> list[bool]:
    """Prints the exact case: an unused unit beside another, both 0; returns whether each value is within 3 errors."""
    plan = replace(REMOVAL, gamma=10.0, settings=ChainSettings(chains=32, burn_in=1000, draws=4000))
    (n_beta,) = plan.n_beta
    one, two = (reduced_rank_value(4, hidden, 4, n_beta=n_beta, gamma=plan.gamma) for hidden in (1, 2))
    net = Net("unused", around(*(torch.zeros(*shape, dtype=torch.float64) for shape in ((2, 4), (4, 2)))), plan)
    alone = LLCPlan(components=plan.components, n_beta=plan.n_beta, gamma=plan.gamma, settings=plan.settings)
    ((_, rows),) = by_component(measure(plan, net.at).rows).items()
    (own,) = (row for row in measure(alone, net.at).rows if row.quantity == "llc")
    kept = list[bool]()
    for name, row, exact in (("change", rows["llc_shift"], one - two), ("own wrLLC", own, one)):
        off = Off.of(row, exact)
        kept.append(off.errors <= 3)
        told = f"{row.value:.3f} +- {row.stderr:.3f}, exact {exact:.3f}, off by {off.errors:.1f} errors  {row.status}"
        print(f"unused unit of (4, 2, 4), rank 0, {name}: {told}{verdict(kept[-1])}", flush=True)
    return kept
