"""Ways to score edges on nets whose true edges are known: ``python -m benchmarks circuits``.

``truth`` prints, for every way to score, AUROC and average precision against the truth, over nets, seeds of the
training and seeds of the data, with intervals; ``sizes`` the areas of the curves of faithfulness; ``simulated`` the
tests of circuits on simulated scores; ``peer`` the costs beside auto-circuit (``make peers``); ``--leaderboard`` alone
what else ranks parts of a circuit beside them, such as LLCs (:mod:`benchmarks.leaderboard`). The nets are trained
once, about a minute each, and stay in ``checkpoints/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import mean, stdev

import torch
from torch import Tensor

from benchmarks.circuits_nets import SEEDS, TASKS, Net, net
from benchmarks.circuits_peer import peer
from benchmarks.goals import Goal
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.curve import curve
from llc_lightning.circuits.evaluation.hypotheses import (
    Verdict,
    equivalence,
    independence,
    minimality,
    partial_necessity,
    sufficiency,
)
from llc_lightning.circuits.evaluation.truth import scored
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.ranking import auroc, average_precision

DATA_SEEDS = range(3)
N = 1024
DONOR = "resample(draws=1)"
MATTERS = 0.02
"""An edge between heads that may matter does so with an effect above this, in nats."""
METHODS = (
    "exact", "eap_ig(steps=5)", "eap_ig(steps=10,check=false)", "eap", "clean_corrupted",
    "atp_star", "relp", "hisp", "weight_norm", "random",
)  # fmt: skip
"""Ways to score. Those from gradients measure the loss, since a divergence has none at the unablated run."""
METRICS = {"ioi_strict": "kl(last=true,output=net.unembed.hook_out)"}
"""What exact effects and curves measure; the loss elsewhere: a divergence over all positions would count those at which
nothing is asked."""


@dataclass(frozen=True)
class Scores:
    """The scores of a net's edges on one data set."""

    net: Net
    effects: tuple[Effect, ...]

    @property
    def values(self) -> dict[Edge, float]:
        """The scores of the edges that the donor can move."""
        return {
            Edge.parse(one.component): one.value for one in self.effects if "unreachable" not in one.status.split("+")
        }


def main(names: list[str]) -> int:
    """Prints the tables with these names, or all; returns 1 where a goal is missed.

    Raises:
        SystemExit: If there is no such table.
    """
    if names == ["--leaderboard"]:
        from benchmarks.leaderboard import leaderboard  # which builds on this file

        return 0 if leaderboard() else 1
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise SystemExit(f"unknown table {unknown[0]!r}; use one of: {', '.join(TABLES)}.")
    return 0 if all([TABLES[name]() for name in names or TABLES]) else 1


def nets() -> list[Net]:
    """Returns the nets, trained ones of three seeds each."""
    return [net(name, seed) for name in TASKS for seed in (SEEDS if name != "hand_built" else (0,))]


@cache
def question(name: str, training: int, data: int, metric: str = "", donor: str = DONOR) -> Question:
    """Returns what is asked of a net's edges on one data set."""
    one = net(name, training)
    graph = Graph.of(one.loss.module)
    return Question.of(one.loss, one.params, one.data(N, data), graph, donor, metric, seed=data)


@cache
def scores(name: str, training: int, data: int, method: str, donor: str = DONOR) -> Scores:
    """Returns the scores of all edges."""
    asked = question(name, training, data, METRICS.get(name, "") if method == "exact" else "", donor)
    return Scores(net(name, training), tuple(edge_scores(asked, method)))


def labelled(name: str, training: int, data: int, method: str) -> tuple[list[float], list[bool]]:
    """Returns the scores of the edges of which the truth is known, and whether each is true."""
    return judged(name, training, data, scores(name, training, data, method).values)


def judged(name: str, training: int, data: int, found: Mapping[Edge, float]) -> tuple[list[float], list[bool]]:
    """Returns the given scores of the edges of which the truth is known, and whether each is true.

    Of indirect objects only the heads are known, so that an edge between them counts as true where its exact effect is
    above ``MATTERS``; whether one touches another head decides nothing there but that it must stay below.
    """
    exact = scores(name, training, data, "exact")
    known = {edge: value for edge, value in found.items() if edge in exact.values}
    if name != "ioi_strict":
        return scored(Graph.of(net(name, training).loss.module), net(name, training).truth, known)
    outside = {Edge.parse(edge) for edge, role in net(name, training).truth.items() if not role and " -> " in edge}
    labels = [edge not in outside and exact.values[edge] > MATTERS for edge in known]
    return [abs(value) for value in known.values()], labels


def truth() -> bool:
    """Prints how well every way to score tells true edges from false ones, and which cells say that they do not."""
    print(f"\nAUROC against the truth, donor {DONOR}, {N} examples, mean and range over {len(DATA_SEEDS)} data sets")
    print(f"{'':30}" + "".join(f"{one.name:>26}" for one in nets()))
    kept: list[bool] = []
    for method in METHODS:
        cells: list[str] = []
        for name, training in _cells():
            each = [labelled(name, training, data, method) for data in DATA_SEEDS]
            areas = [auroc(*one) for one in each]
            flagged = sum(_is_flagged(scores(name, training, data, method)) for data in DATA_SEEDS)
            goal = GOALS.get((method, name))
            told = f"{mean(areas):.3f} [{min(areas):.3f},{max(areas):.3f}]" + (f" !{flagged}" if flagged else "")
            if goal:
                kept.append(Goal(goal, at_least=True).kept(mean(areas)))
                told += "" if kept[-1] else " MISSED"
            cells.append(told)
        print(f"{method:30}" + "".join(f"{cell:>26}" for cell in cells), flush=True)
    print("!n: so many of the data sets say by their status that the estimates are not to be trusted")
    _precision()
    return all([*kept, _margins(), *[_completeness(donor) for donor in (DONOR, "zero")]])


GOALS = {
    ("exact", "hand_built"): 1.0, ("exact", "induction_strict"): 1.0, ("exact", "ioi_strict"): 1.0,
    ("eap_ig(steps=5)", "induction_strict"): 1.0, ("eap_ig(steps=5)", "ioi_strict"): 0.93,
    ("eap_ig(steps=10,check=false)", "ioi_strict"): 0.95,
}  # fmt: skip
"""Of the mean over data sets: in some of them the effect of an edge is next to ``MATTERS``, which decides its label."""


def _cells() -> list[tuple[str, int]]:
    return [(name, seed) for name in TASKS for seed in (SEEDS if name != "hand_built" else (0,))]


def _is_flagged(found: Scores) -> bool:
    words = {word for one in found.effects for word in one.status.split("+")}
    return bool(words & {"incomplete", "too-few-steps"})


def _precision() -> None:
    print(f"\naverage precision, mean over {len(DATA_SEEDS)} data sets")
    for method in METHODS:
        cells = [
            f"{mean(average_precision(*labelled(name, seed, data, method)) for data in DATA_SEEDS):>26.3f}"
            for name, seed in _cells()
        ]
        print(f"{method:30}" + "".join(cells), flush=True)


def _margins() -> bool:
    """Prints how far exact effects of true edges are above all others, and how large those outside are."""
    print("\nexact effects in nats")
    kept: list[bool] = []
    for name, training in _cells():
        ratios: list[float] = []
        outside: list[float] = []
        for data in DATA_SEEDS:
            found = scores(name, training, data, "exact").values
            false = {
                Edge.parse(edge) for edge, role in net(name, training).truth.items() if not role and " -> " in edge
            }
            outside.append(max(abs(found[edge]) for edge in false if edge in found))
            values, labels = labelled(name, training, data, "exact")
            true = min(value for value, label in zip(values, labels, strict=True) if label)
            other = max(value for value, label in zip(values, labels, strict=True) if not label)
            ratios.append(true / other if other else float("inf"))
        told = f"true over next {min(ratios):.3g}..{max(ratios):.3g}, outside at most {max(outside):.4f}"
        kept.append(min(ratios) >= 50 if name == "induction_strict" else True)
        kept.append(max(outside) <= 0.03 if name == "ioi_strict" else True)
        print(f"{net(name, training).name:20} {told}{'' if all(kept[-2:]) else ' MISSED'}", flush=True)
    return all(kept)


COMPLETE, STEADY = 0.05, 0.10
"""How far the edges that leave the embeddings may miss the total, and how much twice the steps may change."""


def _completeness(donor: str) -> bool:
    """Prints which part of the total the edges that leave the embeddings reach; says whether statuses tell so."""
    print(
        f"\nshare of the total that the edges from the embeddings sum to, and change by twice the steps, donor {donor}"
    )
    kept: list[bool] = []
    for method, twice in (("eap_ig(steps=5)", "eap_ig(steps=10,check=false)"), ("eap", "")):
        cells: list[str] = []
        for name, training in _cells():
            told = [_share(name, training, data, method, twice, donor) for data in DATA_SEEDS]
            kept += [flagged == (abs(share - 1) > COMPLETE or change > STEADY) for share, change, flagged in told]
            shares, changes = [one[0] for one in told], [one[1] for one in told]
            flags = sum(one[2] for one in told)
            cells.append(f"{min(shares):.2f}..{max(shares):.2f} {max(changes):.2f}{f' !{flags}' if flags else ' ok'}")
        print(f"{method:30}" + "".join(f"{cell:>26}" for cell in cells), flush=True)
    print("ok or flagged as these say: " + ("in every case" if all(kept) else "MISSED"))
    return all(kept)


def _share(name: str, training: int, data: int, method: str, twice: str, donor: str) -> tuple[float, float, bool]:
    """Returns the share of the total, the change by twice the steps, and whether the statuses speak against it."""
    asked, found = question(name, training, data, donor=donor), scores(name, training, data, method, donor)
    subject = Subject(asked)
    blocks = range(len(subject.examples.blocks))
    total = torch.cat([subject.total(at)[subject.examples.blocks.real(at)] for at in blocks]).double().mean()
    leaving = [one.value for one in found.effects if Edge.parse(one.component).sender in subject.inputs]
    change = 0.0
    if twice:
        finer = torch.tensor([one.value for one in scores(name, training, data, twice, donor).effects])
        change = float((finer - torch.tensor([one.value for one in found.effects])).abs().sum() / finer.abs().sum())
    return sum(leaving) / float(total), change, _is_flagged(found)


def sizes() -> bool:
    """Prints the areas of the curves of faithfulness, over data sets."""
    print(f"\nCMD (the smaller the better) and CPR, donor {DONOR}, mean ± SD over {len(DATA_SEEDS)} data sets")
    for method in METHODS:
        cells: list[str] = []
        for name, training in _cells():
            found = [_curve(name, training, data, method) for data in DATA_SEEDS]
            cmd, cpr = ([pair[at] for pair in found] for at in range(2))
            cells.append(f"{mean(cmd):.3f} ± {stdev(cmd):.3f} / {mean(cpr):.3f}")
        print(f"{method:30}" + "".join(f"{cell:>26}" for cell in cells), flush=True)
    return True


def _curve(name: str, training: int, data: int, method: str) -> tuple[float, float]:
    found = {Edge.parse(one.component): one.value for one in scores(name, training, data, method).effects}
    told = curve(_runs(name, training, data), found)
    return told.cmd, told.cpr


@cache
def _runs(name: str, training: int, data: int) -> MaskedRuns:
    return MaskedRuns(Subject(question(name, training, data, METRICS.get(name, ""))))


CASES, CIRCUITS, EXAMPLES = 2000, 100, 64


def simulated() -> bool:
    """Prints how often the tests reject a true hypothesis, and a circuit that is wrong on purpose."""
    print(f"\nType-I error at level .05 over {CASES} cases, and power; the attainable size of counts")
    stream = torch.Generator().manual_seed(0)
    kept: list[bool] = []
    for name, (null, wrong) in SIMULATIONS.items():
        size, power = (
            sum(case(stream).is_rejected for _ in range(count)) / count
            for case, count in ((null, CASES), (wrong, CASES // 10))
        )
        attainable = null(stream).attainable
        kept.append(size <= 0.065 and power > 0.5 and (name != "independence" or size >= 0.035))
        print(
            f"{name:20}{size:8.3f}{power:8.3f}   attainable {attainable:.3f}{'' if kept[-1] else ' MISSED'}", flush=True
        )
    return all(kept)


def _normal(stream: torch.Generator, n: int = EXAMPLES) -> Tensor:
    return torch.randn(n, generator=stream)


def _equivalence(stream: torch.Generator, share: float) -> Verdict:
    wins = torch.rand(EXAMPLES, generator=stream) < share
    return equivalence(wins.float(), 1 - wins.float())


def _independence(stream: torch.Generator, share: float) -> Verdict:
    network = _normal(stream)
    return independence(share * network + _normal(stream), network, permutations=199, seed=int(1e6 * float(network[0])))


def _against(test: Callable[[float, Tensor], Verdict], stream: torch.Generator, quantile: float) -> Verdict:
    """Returns the verdict of a circuit at a quantile of random ones, whose ranks are uniform."""
    return test(quantile, torch.rand(CIRCUITS, generator=stream))


def _beneath(test: Callable[[float, Tensor], Verdict], stream: torch.Generator, quantile: float) -> Verdict:
    return test(1 - quantile, torch.rand(CIRCUITS, generator=stream))


SIMULATIONS: dict[str, tuple[Callable[[torch.Generator], Verdict], Callable[[torch.Generator], Verdict]]] = {
    "equivalence": (lambda stream: _equivalence(stream, 0.6), lambda stream: _equivalence(stream, 0.95)),
    "independence": (lambda stream: _independence(stream, 0.0), lambda stream: _independence(stream, 2.0)),
    "minimality": (lambda s: _against(minimality, s, 0.9), lambda s: _against(minimality, s, 1.0)),
    "sufficiency": (lambda s: _against(sufficiency, s, 0.9), lambda s: _against(sufficiency, s, 1.0)),
    "partial_necessity": (lambda s: _beneath(partial_necessity, s, 0.9), lambda s: _beneath(partial_necessity, s, 1.0)),
}
"""Of each test a case in which its null hypothesis holds, at its edge, and one in which it does not."""

TABLES: dict[str, Callable[[], bool]] = {"truth": truth, "sizes": sizes, "simulated": simulated, "peer": peer}
