"""Edges beside auto-circuit 1.0.1, same net, examples and donor: ``python -m benchmarks circuits peer``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.circuits_nets import Net, net
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.influence import donors
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.discovery.acdc import ACDC
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.graph import Graph

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".peers" / "auto-circuit-1.0.1" / "bin" / "python"
SIZES = (32, 128)
"""Examples."""
ROUNDS = 3
GOALS = {"exact": 20.0, "masked": 12.0, "ig": 2.0, "acdc": 20.0}
"""How many times cheaper what the peer does is here."""
_HEAD = re.compile(r"net\.blocks\.(\d)\.attn\.hook_(.)\[(\d)\]")


def peer() -> bool:
    """Prints CPU times of both in turns, and how far their values are apart; says whether the goals are kept."""
    if not PYTHON.exists():
        print("\nauto-circuit is not there: make peers")
        return True
    kept = [_beside(size) for size in SIZES]
    return all(kept)


def _beside(size: int) -> bool:
    one = net("induction_strict", 0)
    works = {"exact": _exact, "masked": _exact, "ig": _ig, "acdc": _acdc}
    with _running(one, size) as ask:
        kept: list[bool] = []
        print(f"\n{size} examples of 32 tokens, 81 edges, CPU seconds, first call / median of {ROUNDS} later ones")
        for name, ours in works.items():
            theirs: list[float] = []
            mine: list[float] = []
            values: tuple[dict[str, float], dict[str, float]] = {}, {}
            for _ in range(1 + ROUNDS):
                answer = ask(name)
                theirs.append(answer["seconds"])
                question = _question(one, size)
                started = time.process_time()
                found = ours(question, list(answer["values"]))
                mine.append(time.process_time() - started)
                values = answer["values"], {_named(edge): value for edge, value in found.items()}
            apart = max(abs(values[0][edge] - value) for edge, value in values[1].items())
            ratio = median(a / b for a, b in zip(theirs[1:], mine[1:], strict=True))
            kept.append(ratio >= GOALS[name] and (name == "ig" or apart <= 1e-5))
            print(
                f"{name:8} auto-circuit {theirs[0]:.2f} / {median(theirs[1:]):.2f}, here {mine[0]:.3f} / "
                f"{median(mine[1:]):.3f}: {theirs[0] / mine[0]:.1f} / {ratio:.1f} times (asked {GOALS[name]:g}), "
                f"values apart {apart:.1e}{'' if kept[-1] else ' MISSED'}", flush=True,
            )  # fmt: skip
    return all(kept)


def _question(one: Net, size: int) -> Question:
    graph = Graph.of(one.loss.module, joined=True)
    return Question.of(one.loss, one.params, one.data(size, 0), graph, "resample(draws=1)", seed=0)


def _exact(question: Question, order: Sequence[str]) -> dict[Edge, float]:
    return _by_edge(question, edge_scores(question, "exact"))


def _ig(question: Question, order: Sequence[str]) -> dict[Edge, float]:
    return _by_edge(question, edge_scores(question, "eap_ig(steps=5,check=false)"))


def _by_edge(question: Question, scores: Sequence[Effect]) -> dict[Edge, float]:
    return {edge: found.value for edge, found in zip(question.graph.edges, scores, strict=True)}


@dataclass(frozen=True)
class _InOrder(ACDC):
    """ACDC that asks about edges in the order of the peer, which is another in each of its processes."""

    names: tuple[str, ...] = ()

    def ordered(self, graph: Graph, seed: int) -> list[list[Edge]]:
        """Returns the edges in the peer's order."""
        edges = {_named(edge): edge for edge in graph.edges}
        together = groupby((edges[name] for name in self.names), lambda edge: graph.reader(edge).stream)
        return [list(some) for _, some in together]

    @cached_property
    def name(self) -> str:
        """No registered one."""
        return "acdc in the order of the peer"


def _acdc(question: Question, order: Sequence[str]) -> dict[Edge, float]:
    # The peer's divergence is over all positions, also those at which nothing is asked.
    asked = Question.of(
        question.loss, question.params, question.data, question.graph, question.donor,
        "kl(output=net.unembed.hook_out)", seed=0,
    )  # fmt: skip
    kept = find_circuit(asked, _InOrder(threshold=0.1, names=tuple(order))).edges
    return {edge: float(edge in kept) for edge in question.graph.edges}


def _named(edge: Edge) -> str:
    """Returns an edge as the peer writes it."""
    sender, reader = _HEAD.fullmatch(edge.sender), _HEAD.fullmatch(edge.reader)
    start = f"A{sender[1]}.{sender[3]}" if sender else "Resid Start"
    return f"{start}->{f'A{reader[1]}.{reader[3]}.{reader[2].upper()}' if reader else 'Resid End'}"


@contextmanager
def _running(one: Net, size: int) -> Generator[Callable[[str], dict[str, Any]]]:
    """Gives the peer as a process of its own, and ends it afterwards."""
    tokens, targets = one.data(size, 0)
    state = {name.removeprefix("net."): value for name, value in one.params.items()}
    problem = {"state": state, "tokens": tokens, "targets": targets, "order": donors(size, seed=0, draw=0)}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w+") as log:
        path = Path(folder, "problem.pt")
        torch.save(problem, path)
        command = [str(PYTHON), str(ROOT / "benchmarks" / "peers" / "auto_circuit_1.py"), str(path)]
        with subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process:

            def ask(what: str) -> dict[str, Any]:
                assert process.stdin is not None
                assert process.stdout is not None
                print(what, file=process.stdin, flush=True)
                line = process.stdout.readline()
                if not line:
                    log.seek(0)
                    raise RuntimeError(f"auto-circuit died:\n{log.read()[-2000:]}")
                return json.loads(line)

            try:
                yield ask
            finally:
                process.terminate()
