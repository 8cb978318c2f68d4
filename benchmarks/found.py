"""Circuits that searches find: ``python -m benchmarks found stability``, ``pareto``, or both.

``stability`` compares the shares of circuits of resampled examples that hold an edge with how often it is found on
fresh data, and counts edges over orders of ACDC; ``pareto`` compares how far searches are from the network with
circuits of the same sizes, to which larger ones are cut by their scores, which is told: the size of the true circuit,
twice and four times it. In strict nets it is that of the edges with an exact effect. Three seeds of each net.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.circuits import MATTERS
from benchmarks.circuits_nets import SEEDS, TASKS
from benchmarks.zoo import trained
from benchmarks.zoo_rows import Training
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.circuits.stability import over_examples, over_orders
from llc_lightning.cli.offline import restored
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.induction import Induction
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.run import RUNS
from llc_lightning.runtime.seeding import generator

DONOR = "resample(draws=1)"
SEARCH = "acdc(threshold=0.1)"
SIZES = {16: 0.12, 64: 0.08}
"""Examples, and how far shares may be from frequencies at so many, mean over edges that are undecided."""
FRESH, POOL, POOLS, DRAWN, ORDERS = 100, 4096, 2, 64, 8
"""Fresh data sets; examples of which others are drawn anew, how many such, and how often; orders."""
CERTAIN, AGAIN = 0.9, 0.95
"""From which share on an edge is found again, and how often it is."""
N = 128
"""Examples of a comparison of sizes."""
PRICES = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Of an edge, in nats, of uniform gradient sampling, from which a circuit of each size is taken."""
THRESHOLDS = tuple(0.3 * 0.6**power for power in range(14))
"""Of ACDC, likewise."""
HALVINGS = 4
"""Of the way between two of these, where none gives a circuit of the size of the true one."""
TIMES = (1, 2, 4)
"""Sizes that are compared, in those of the true circuit."""
PLAIN = 11
"""Edges of which plain induction is taken to consist."""
DRAWS = 1000
"""Resamples of examples for an interval."""
METRICS = {"ioi_strict": "kl(last=true,output=net.unembed.hook_out)"}
"""What says how far a circuit is from the network; elsewhere the divergence at all positions."""


def main(names: list[str]) -> int:
    """Prints the tables with these names, or all; returns 1 where a goal is missed.

    Raises:
        SystemExit: If there is no such table.
    """
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise SystemExit(f"unknown table {unknown[0]!r}; use one of: {', '.join(TABLES)}.")
    return 0 if all([TABLES[name]() for name in names or TABLES]) else 1


@cache
def _snapshot(name: str, seed: int) -> Snapshot:
    found = trained(Training(f"circuits_{name}", name, ()), seed, Path(RUNS))
    if found is None:
        raise RuntimeError(f"{name} of seed {seed} could not be trained; its error is told above.")
    return restored(found.run.folder)


def _question(name: str, seed: int, n: int, data: int, metric: str = "") -> Question:
    """Returns what is asked of a net on fresh examples."""
    snapshot = _snapshot(name, seed)
    examples = SequenceData(TASKS.get(name, Induction()), analysis_size=n, seed=1000 + data).analysis_set()
    graph = Graph.of(snapshot.loss.module)
    return Question.of(snapshot.loss, snapshot.params, examples, graph, DONOR, metric, seed=data)


def stability() -> bool:
    """Prints whether shares over resamples are those over fresh data, and how much orders matter."""
    started, kept = time.process_time(), list[bool]()
    print(f"\n{SEARCH} on {FRESH} fresh data sets of n, and on n drawn {DRAWN} times from each of {POOLS} of {POOL}")
    for name in ("induction", "induction_strict"):
        for n, asked in SIZES.items():
            found: list[tuple[list[float], list[float]]] = []
            for seed in SEEDS:
                found.append(_calibrated(name, seed, n))
                print(f"{name}-{seed} n {n:3}: {_told(*found[-1])}", flush=True)
            certain, apart = ([value for one in found for value in one[at]] for at in (0, 1))
            # Of no edge nothing is known, which keeps no goal.
            kept.append(bool(certain and apart) and mean(certain) >= AGAIN and mean(apart) <= asked)
            missed = "" if kept[-1] else " MISSED"
            print(f"{name} n {n:3}: {_told(certain, apart)} (asked {AGAIN:g}, {asked:g}){missed}", flush=True)
        for seed in SEEDS:
            told = over_orders(_question(name, seed, 64, 0), threshold=0.1, count=ORDERS).told()
            print(f"{name}-{seed}: {told}", flush=True)
    print(f"{(time.process_time() - started) / 60:.1f} CPU min")
    return all(kept)


def _calibrated(name: str, seed: int, n: int) -> tuple[list[float], list[float]]:
    """Returns how often edges of large shares are found again, and how far other shares are from how often they are."""
    fresh = [find_circuit(_question(name, seed, n, data), SEARCH).edges for data in range(1, 1 + FRESH)]
    often = {edge: sum(edge in one for one in fresh) / FRESH for edge in _snapshot_edges(name, seed)}
    certain, apart = list[float](), list[float]()
    for pool in range(POOLS):
        asked = _question(name, seed, POOL, 1 + FRESH + pool)
        shares = over_examples(asked, SEARCH, count=DRAWN, size=n).shares
        for edge, frequency in often.items():
            share = shares.get(edge, 0.0)
            if share >= CERTAIN:
                certain.append(frequency)
            elif max(share, frequency) > 1 - CERTAIN:
                apart.append(abs(share - frequency))
    return certain, apart


def _snapshot_edges(name: str, seed: int) -> tuple[Edge, ...]:
    return Graph.of(_snapshot(name, seed).loss.module).edges


def _told(certain: Sequence[float], apart: Sequence[float]) -> str:
    again = f"found again {mean(certain):.3f} (least {min(certain):.2f})" if certain else "none certain"
    off = f"|share - frequency| {mean(apart):.3f}" if apart else "none"
    return f"{again} of {len(certain)} edges with shares from {CERTAIN:g} on; {off} of {len(apart)} undecided ones"


def pareto() -> bool:
    """Prints how far circuits of the same sizes are from the network, and whether no search is beyond its goal."""
    started, kept = time.process_time(), list[bool]()
    print(f"\ndivergence from the network in nats [95 % over {N} examples that were not searched on], by size")
    for name in ("induction_strict", "ioi_strict", "induction"):
        for seed in SEEDS:
            kept += _compared(name, seed)
    print(f"{(time.process_time() - started) / 60:.1f} CPU min")
    return all(kept)


def _compared(name: str, seed: int) -> list[bool]:
    """Prints how far circuits of some sizes are from the network, and says which goals are kept."""
    metric = METRICS.get(name, "kl(output=net.unembed.hook_out)")
    asked, held = (_question(name, seed, N, data, metric) for data in (0, 1))
    runs, judge, kept = MaskedRuns(Subject(asked)), MaskedRuns(Subject(held)), list[bool]()
    plain = replace(asked, metric=None)  # a divergence has no gradient at the unablated run
    ranked = {"exact": edge_scores(asked, "exact"), "eap_ig": edge_scores(plain, "eap_ig(check=false)")}
    true = PLAIN if name == "induction" else sum(one.value > MATTERS for one in ranked["exact"])
    searched = {
        "ugs": of_size(lambda price: find_circuit(runs, f"ugs(price={price:g})"), PRICES, true),
        "acdc": of_size(lambda threshold: find_circuit(runs, f"acdc(threshold={threshold:g})"), THRESHOLDS, true),
    }
    for size in (times * true for times in TIMES):
        circuits = {one: nearest(found, size) for one, found in searched.items()}
        circuits |= {one: Circuit.top(told, size, method=one, donor=DONOR, loss="", seed=seed)
                     for one, told in ranked.items()}  # fmt: skip
        circuits["greedy"] = find_circuit(asked, f"greedy(edges={size})")
        far = {one: _far(judge, found.edges[:size]) for one, found in circuits.items()}
        means = {one: float(values.mean()) for one, values in far.items()}
        goals: list[bool] = []
        if name == "induction":
            goals = [_interval(far["ugs"] - far[other])[0] <= 0 for other in ("acdc", "exact")]
        elif size == true:
            goals = [means["ugs"] <= 1.5 * min(means.values()) + 0.01]
        kept += goals
        told = ", ".join(
            f"{one}{sized(circuits[one], size)} {means[one]:.3f} [{low:.3f}, {high:.3f}]"
            for one, (low, high) in _intervals(far)
        )
        print(f"{name}-{seed} {size:2} edges: {told}{'' if all(goals) else ' MISSED'}", flush=True)
    return kept


def of_size(search: Callable[[float], Circuit], costs: Sequence[float], size: int) -> list[Circuit]:
    """Returns the circuits of some costs of an edge, and of costs between them while none has so many edges."""
    found = {cost: search(cost) for cost in costs}
    for _ in range(HALVINGS):
        sizes = {cost: len(circuit.scored) for cost, circuit in found.items()}
        larger, smaller = ([cost for cost, n in sizes.items() if sign * (n - size) > 0] for sign in (1, -1))
        if size in sizes.values() or not larger or not smaller:
            break
        between = math.sqrt(max(larger) * min(smaller))
        found[between] = search(between)
    return list(found.values())


def nearest(circuits: Sequence[Circuit], size: int) -> Circuit:
    """Returns the smallest circuit of at least so many edges, the largest where all are smaller."""
    return min(circuits, key=lambda one: (max(size - len(one.scored), 0), len(one.scored)))


def sized(circuit: Circuit, size: int) -> str:
    """Returns how many edges there are where these are not so many, and that a larger circuit is cut by scores."""
    n = len(circuit.scored)
    return "" if n == size else f" ({n} edges{f', cut to {size} by |score|' if n > size else ''})"


def _far(runs: MaskedRuns, edges: Sequence[Edge]) -> Float[Tensor, "example"]:
    with torch.no_grad():
        return runs(runs.mask(edges)[None])[0].double()


def _intervals(far: Mapping[str, Tensor]) -> list[tuple[str, tuple[float, float]]]:
    return [(name, _interval(values)) for name, values in far.items()]


def _interval(values: Float[Tensor, "example"]) -> tuple[float, float]:
    """Returns the bootstrap's interval of the mean."""
    stream = generator(0, "bootstrap", 0)
    drawn = values[torch.randint(len(values), (DRAWS, len(values)), generator=stream)].mean(1)
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype))
    return float(low), float(high)


TABLES: Mapping[str, Callable[[], bool]] = {"stability": stability, "pareto": pareto}
