"""All that ranks the parts of a circuit side by side: ``python -m benchmarks circuits --leaderboard``.

Scores of edges, restricted LLCs of heads (all weights, one side, the smaller of both), norms and random numbers on nets
whose true parts are known, of three seeds each, with the range over these; the circuits that searches find there; and
the LLC of the true circuit's weights beside that of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from statistics import mean

from benchmarks.circuits import MATTERS, judged, labelled, question, scores
from benchmarks.circuits_nets import SEEDS, TASKS, Net, net
from llc_lightning.analysis.table import Measured
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.edge import ARROW, Edge
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.weights import circuit_address
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row
from llc_lightning.runtime.ranking import auroc

OF_EDGES = ("exact", "eap_ig(steps=5)", "eap", "atp_star", "relp", "hisp", "weight_norm", "random")
OF_HEADS = ("wrLLC", "wrLLC:in", "wrLLC:out", "wrLLC:min", "norm of weights")
SEARCHES = ("acdc", "path_patching", "ugs")
CHAINS = ChainSettings(chains=4, draws=20, burn_in=10, batch_size=16, curvature_examples=32)
N_BETA, GAMMA, N = 300.0, 300.0, 512
DOES = {"ioi_strict": MATTERS, "induction_strict": 1.0}
"""Of true edges the least effect, in nats; those of induction do 7 and more, all others .1 at most."""
CELLS = [(name, seed) for name in TASKS for seed in (SEEDS if name != "hand_built" else (0,))]


def leaderboard() -> bool:
    """Prints the tables; returns whether ACDC and UGS find all true edges of induction, with one other at most."""
    _ranked("heads", _of_heads)
    _ranked("edges", _of_edges)
    kept = _found()
    _beside()
    return kept


def _ranked(what: str, areas: Callable[[str, int, str], float]) -> None:
    """Prints how well every score tells true parts from false ones."""
    print(f"\nAUROC of {what}, mean [range] over seeds of the training")
    print(f"{'':18}" + "".join(f"{name:>24}" for name in TASKS))
    for method in (*OF_EDGES, *OF_HEADS):
        cells: list[str] = []
        for task in TASKS:
            found = [areas(name, seed, method) for name, seed in CELLS if name == task]
            cells.append(f"{mean(found):.3f} [{min(found):.3f}, {max(found):.3f}]")
        print(f"{method:18}" + "".join(f"{cell:>24}" for cell in cells), flush=True)
    flagged = sum(row.status != "ok" for name, seed in CELLS for row in _llcs(name, seed).values())
    every = sum(len(_llcs(name, seed)) for name, seed in CELLS)
    print(
        f"wrLLC at n_beta {N_BETA:g}, gamma {GAMMA:g}: {flagged} of {every} estimates are flagged, and ranked "
        "all the same"
    )


def _of_heads(name: str, seed: int, method: str) -> float:
    """Returns the area of a score of heads: of one of edges the largest of those that touch the head."""
    truth = {
        head: bool(role) for head, role in net(name, seed).truth.items() if "hook_z[" in head and ARROW not in head
    }
    found = _heads(name, seed)[method] if method in OF_HEADS else _by_head(name, seed, method)
    return auroc([found[head] for head in truth], list(truth.values()))


def _by_head(name: str, seed: int, method: str) -> dict[str, float]:
    graph, largest = Graph.of(net(name, seed).loss.module), dict[str, float]()
    for edge, value in scores(name, seed, 0, method).values.items():
        for end in (edge.sender, graph.reader(edge).feeds):
            largest[end] = max(abs(value), largest.get(end, 0.0))
    return largest


def _of_edges(name: str, seed: int, method: str) -> float:
    """Returns the area of a score of edges: of one of heads the smaller of those at its ends."""
    if method not in OF_HEADS:
        return auroc(*labelled(name, seed, 0, method))
    heads, graph = _heads(name, seed)[method], Graph.of(net(name, seed).loss.module)
    found: dict[Edge, float] = {}
    for edge in graph.edges:
        ends = [heads[end] for end in (edge.sender, graph.reader(edge).feeds) if end in heads]
        found[edge] = min(ends, default=max(heads.values()))
    return auroc(*judged(name, seed, 0, found))


def _true(name: str, seed: int) -> set[Edge]:
    """Returns the true edges: those between true heads that do something, where it is not known which they are."""
    exact, truth = scores(name, seed, 0, "exact").values, net(name, seed).truth
    if name in DOES:
        outside = {edge for edge, role in truth.items() if not role}
        return {edge for edge, value in exact.items() if value > DOES[name] and str(edge) not in outside}
    graph = Graph.of(net(name, seed).loss.module)
    return set(graph.select([text for text, role in truth.items() if role and ARROW in text]))


@cache
def _snapshot(name: str, seed: int) -> Snapshot:
    one = net(name, seed)
    return Snapshot(one.name, seed, 0, 0, one.loss, one.params, one.data(N, 0))


def _llc(name: str, seed: int, *components: str) -> list[Row]:
    plan = LLCPlan(components=components, n_beta=(N_BETA,), gamma=GAMMA, settings=CHAINS)
    return [row for row in measure(plan, _snapshot(name, seed)).rows if row.quantity == "llc"]


@cache
def _llcs(name: str, seed: int) -> Mapping[str, Row]:
    """Returns the restricted LLCs of all heads and their sides."""
    return {row.component: row for row in _llc(name, seed, "heads", "heads:in", "heads:out")}


@cache
def _heads(name: str, seed: int) -> Mapping[str, Mapping[str, float]]:
    """Returns the scores of heads that are of weights, by the score and the head."""
    rows, params = _llcs(name, seed), net(name, seed).params
    heads = [one for one in rows if not one.endswith((":in", ":out"))]
    sides = {side: {head: rows[f"{head}:{side}"].value for head in heads} for side in ("in", "out")}
    components = {one.address: one for one in _plan_of_heads().components_of(net(name, seed).loss.module)}
    norms = {
        head: sum(float(params[at][mask].square().sum()) for at, mask in components[head].moved(params).items()) ** 0.5
        for head in heads
    }
    return {
        "wrLLC": {head: rows[head].value for head in heads},
        "wrLLC:in": sides["in"],
        "wrLLC:out": sides["out"],
        "wrLLC:min": {head: min(sides["in"][head], sides["out"][head]) for head in heads},
        "norm of weights": norms,
    }


def _plan_of_heads() -> LLCPlan:
    return LLCPlan(components=("heads",), n_beta=(N_BETA,), gamma=GAMMA, settings=CHAINS)


def _found() -> bool:
    """Prints the circuits that searches find where all edges are known."""
    print("\nedges that searches find: true ones of all true ones + others")
    print(f"{'':18}" + "".join(f"{net(*cell).name:>22}" for cell in CELLS))
    kept: list[bool] = []
    for search in SEARCHES:
        cells: list[str] = []
        for name, seed in CELLS:
            edges = set(find_circuit(question(name, seed, 0), search).edges)
            true = _true(name, seed)
            cells.append(f"{len(edges & true)} of {len(true)} + {len(edges - true)}")
            if name == "induction_strict" and search != "path_patching":
                kept.append(true <= edges and len(edges - true) <= 1)
                cells[-1] += "" if kept[-1] else " MISSED"
        print(f"{search:18}" + "".join(f"{cell:>22}" for cell in cells), flush=True)
    return all(kept)


def _beside() -> None:
    """Prints the LLC of the true circuit's weights, and of all others."""
    print("\nLLC of the weights of the true circuit, and of all others")
    for name, seed in CELLS:
        one: Net = net(name, seed)
        address = circuit_address(Graph.of(one.loss.module), _true(name, seed))
        print(f"{one.name:20}" + "".join(map(_told, _llc(name, seed, address, f"all-{address}"))), flush=True)


def _told(row: Row) -> str:
    return f"{Measured(row.value, row.stderr)!s:>18} {row.status:20}"
