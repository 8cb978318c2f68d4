"""Whether A1 = A3 - n_beta R on trained nets, and whether A3 depends on the ablation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from math import hypot

from benchmarks.under_ablation.misses import Off, verdict, within
from benchmarks.under_ablation.nets import Net, by_component, cis_at_minimum, first, image, transformer
from llc_lightning.measure.measurements import measure
from llc_lightning.runtime.status import OK

METHODS_OF = (4, 3, 3)
"""Of how many components of each net A3 is measured by all methods."""


def closure(_: int = 0) -> bool:
    """Prints whether A1 = A3 - n_beta R closes on trained nets, and whether A3 depends on the ablation."""
    print("\n## A1 = A3 - n_beta R, on trained nets, by zero ablation; asked: within 2 errors for >= 90 % of >= 30")
    print("components, errors <= 3 % of n_beta R, and a status where one of them is missed")
    print(
        f"{'component':32}{'A1':>9}{'A3':>8}{'n_beta R':>9}{'off by':>8}{'error':>7}{'errors':>7}{'plain R':>8}  status"
    )
    nets = [cis_at_minimum(), image(), transformer()]
    closed = [one for net in nets for one in _closed(net)]
    share = sum(one.kept for one in closed) / len(closed)
    kept = [len(closed) >= 30 and share >= 0.9 and all(one.kept or one.status != OK for one in closed)]
    near = within([one.off for one in closed], 2)
    print(f"{len(closed)} components: within 2 errors {near:.0%}, with small errors too {share:.0%}{verdict(kept[0])}")
    print("\n## A3 by the methods zero, mean and optimal; asked: the same within 2 errors in >= 90 %")
    same = [one for net, number in zip(nets, METHODS_OF, strict=True) if number for one in _by_method(net, number)]
    share = within(same, 2)
    kept.append(share >= 0.9)
    print(f"{len(same)} pairs of methods, within 2 errors {share:.0%}{verdict(kept[-1])}", flush=True)
    return all(kept)


@dataclass(frozen=True)
class Closed:
    """Whether the numbers of one component close, and how precisely that is known."""

    off: Off
    n_beta_gap: float
    status: str

    @property
    def precise(self) -> bool:
        """Whether the error is small beside what the other weights make good."""
        return self.off.stderr <= 0.03 * self.n_beta_gap

    @property
    def kept(self) -> bool:
        """Whether it is as asked."""
        return self.off.errors <= 2 and self.precise


def _closed(net: Net) -> Iterator[Closed]:
    (n_beta,) = net.plan.n_beta
    for address, rows in by_component(measure(net.plan, net.at).rows).items():
        gap, plain = (n_beta * rows[name].value for name in ("recovery_gap", "recovery_gap_plain"))
        row = rows["recovery_closure"]
        one = Closed(Off.of(row), gap, row.status)
        told = f"{rows['llc_unrecovered'].value:9.2f}{rows['llc_ablated'].value:8.2f}{gap:9.2f}{row.value:8.2f}"
        missed = row.value + plain - gap
        print(
            f"{net.name + ' ' + address.removeprefix('net.'):32}{told}{row.stderr:7.2f}{one.off.errors:7.2f}"
            f"{missed:8.1f}  {row.status}{verdict(one.kept or row.status != OK)}", flush=True,
        )  # fmt: skip
        yield one


def _by_method(net: Net, number: int) -> Iterator[Off]:
    """Yields how far apart the coefficients of some ablated models are, by pairs of methods."""
    some = first(net, number)
    plan = replace(some.plan, methods=("zero", "mean", "optimal"), closure=False)
    rows = [row for row in measure(plan, net.at).rows if row.component and row.quantity == "llc_ablated"]
    for address in plan.components:
        found = {row.method: row for row in rows if row.component == address}
        print(net.name, address, *(f"{name} {row.value:.2f} +- {row.stderr:.2f}" for name, row in found.items()))
        for one, other in combinations(found.values(), 2):
            yield Off(one.value - other.value, hypot(one.stderr, other.stderr))
