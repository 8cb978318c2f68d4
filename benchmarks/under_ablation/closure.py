"""Whether A1 = A3 - n_beta R on trained nets, and whether A3 depends on the ablation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import hypot

from benchmarks.under_ablation.curved import curved_otherwise
from benchmarks.under_ablation.misses import Off, verdict, within
from benchmarks.under_ablation.nets import Net, by_component, cis_at_minimum, first, image, transformer
from llc_lightning.ablation.engine.base import Method, resolve_methods
from llc_lightning.components.component import Component
from llc_lightning.measure.ablated_llc.losses import ablated
from llc_lightning.measure.measurements import measure
from llc_lightning.results.schema import Row
from llc_lightning.runtime.status import OK

METHODS = ("zero", "mean", "optimal")
METHODS_OF = (4, 4, 3, 3)
"""Of how many components of each net A3 is measured by all methods."""
PRECISE = 0.03
"""Of n_beta R: how large an error may be."""
SAME = 1.0
"""Nats by which ``n_beta`` times the losses of re-optimised nets may differ that ended in the same minimum."""


def closure(_: int = 0) -> bool:
    """Prints whether A1 = A3 - n_beta R closes on trained nets, and whether A3 depends on the ablation."""
    nets = [cis_at_minimum(0), cis_at_minimum(1), image(), transformer()]
    print("\n## A1 = A3 - n_beta R, on trained nets, by zero ablation; asked: within 2 errors for >= 90 % of >= 30")
    print(
        "components, errors <= 3 % of n_beta R, and a status where one of them is missed. Curved: by how much it must"
    )
    print("be off since the loss is curved otherwise around w_g than around w~, by Hessians")
    head = f"{'component':32}{'A1':>11}{'A3':>8}{'n_beta R':>11}{'off by':>8}{'error':>7}{'errors':>7}{'curved':>8}"
    print(f"{head}{'of n_beta R':>12}{'plain R':>9}  status")
    closed = [one for net in nets for one in _closed(net)]
    share = sum(one.kept for one in closed) / len(closed)
    kept = [len(closed) >= 30 and share >= 0.9 and all(one.kept or one.status != OK for one in closed)]
    near, but = (within([getattr(one, name) for one in closed], 2) for name in ("off", "beside_curvature"))
    print(f"{len(closed)} components: within 2 errors {near:.0%}, with small errors too {share:.0%}{verdict(kept[0])}")
    small = sum(abs(one.off.miss) <= PRECISE * one.n_beta_gap for one in closed) / len(closed)
    print(f"off by at most {PRECISE:.0%} of n_beta R: {small:.0%}; within 2 errors of what curvature says: {but:.0%}")
    print(
        f"\n## A3 by the methods {', '.join(METHODS)}; asked: the same within 2 errors in >= 90 %, where re-optimised"
    )
    print(f"nets end in the same minimum: n_beta times their losses differ by less than {SAME:g}")
    pairs = [pair for net, number in zip(nets, METHODS_OF, strict=True) for pair in _by_method(net, number)]
    kept += [alike("the same minimum", [one for one, same in pairs if same], asked=0.9)]
    kept += [alike("other minima", [one for one, same in pairs if not same], asked=0.0)]
    return all(kept)


def alike(where: str, pairs: Sequence[Off], *, asked: float) -> bool:
    """Prints how many pairs agree, and returns whether they are as many as asked: of no pair none does."""
    share = within(pairs, 2) if pairs else 0.0
    kept = share >= asked
    print(f"{len(pairs)} pairs of methods that end in {where}: within 2 errors {share:.0%}{verdict(kept)}", flush=True)
    return kept


@dataclass(frozen=True)
class Closed:
    """Whether the numbers of one component close, and how precisely that is known."""

    off: Off
    n_beta_gap: float
    curved: float
    """By how much it must be off since the loss is curved otherwise where the chains are."""
    status: str

    @property
    def precise(self) -> bool:
        """Whether the error is small beside what the other weights make good."""
        return self.off.stderr <= PRECISE * self.n_beta_gap

    @property
    def beside_curvature(self) -> Off:
        """By how much it is off beside that."""
        return replace(self.off, miss=self.off.miss - self.curved)

    @property
    def kept(self) -> bool:
        """Whether it is as asked."""
        return self.off.errors <= 2 and self.precise


def _closed(net: Net) -> Iterator[Closed]:
    (n_beta,) = net.plan.n_beta
    measured = by_component(measure(net.plan, net.at).rows)
    for component in net.plan.components_of(net.at.loss.module, net.at.data):
        rows = measured[component.address]
        gap, plain = (n_beta * rows[name].value for name in ("recovery_gap", "recovery_gap_plain"))
        row = rows["recovery_closure"]
        one = Closed(Off.of(row), gap, curved_otherwise(net, component), row.status)
        told = f"{rows['llc_unrecovered'].value:11.2f}{rows['llc_ablated'].value:8.2f}{gap:11.2f}{row.value:8.2f}"
        missed = row.value + plain - gap
        print(
            f"{net.name + ' ' + component.address.removeprefix('net.'):32}{told}{row.stderr:7.2f}{one.off.errors:7.2f}"
            f"{one.curved:8.2f}{row.value / gap:12.2%}{missed:9.1f}  {row.status}"
            f"{verdict(one.kept or row.status != OK)}", flush=True,
        )  # fmt: skip
        yield one


@dataclass(frozen=True)
class Recovered:
    """The coefficient of a re-optimised net, and where it ended."""

    method: str
    row: Row
    nats: float
    """``n_beta`` times its loss."""

    def __str__(self) -> str:
        return f"{self.method} {self.row.value:.2f} +- {self.row.stderr:.2f} at {self.nats:.1f}"


def _by_method(net: Net, number: int) -> Iterator[tuple[Off, bool]]:
    """Yields how far apart the coefficients of some ablated models are, by pairs of methods, and if at one minimum."""
    some = first(net, number)
    components = some.plan.components_of(net.at.loss.module, net.at.data)
    found: dict[str, list[Recovered]] = {component.address: [] for component in components}
    for method in resolve_methods(METHODS):
        rows = by_component(measure(replace(some.plan, methods=(method.name,), closure=False), net.at).rows)
        for component in components:
            found[component.address].append(_recovered(some, component, method, rows[component.address]))
    for address, each in found.items():
        print(f"{net.name + ' ' + address.removeprefix('net.'):32}", *each, flush=True)
        for one, other in combinations(each, 2):
            off = Off(one.row.value - other.row.value, hypot(one.row.stderr, other.row.stderr))
            yield off, abs(one.nats - other.nats) < SAME


def _recovered(net: Net, component: Component, method: Method, rows: dict[str, Row]) -> Recovered:
    loss, data = ablated(net.at.loss, net.at.params, net.at.data, component, method, seed=net.at.seed)
    (n_beta,) = net.plan.n_beta
    left = loss(net.at.params, data).double().mean().item() - rows["recovery_gap_plain"].value
    return Recovered(method.name, rows["llc_ablated"], n_beta * left)
