"""Whole estimates through the public interfaces: ``estimate_llc`` against both lines of devinterp, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks.cases import GAMMA, N_BETA, STEP_SIZE, Case, autoencoder, cis, mlp, transformer
from benchmarks.goals import Goal, judged
from benchmarks.peers.peer import VERSIONS, Answer, missing, running
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.runtime.allocator import keep_freed_memory

_SHORT = 4
"""Draws of the call that shows the fixed cost."""
_USUAL = 700
"""Steps per chain of an estimate with default settings."""
_SETTINGS = {"n_beta": N_BETA, "gamma": GAMMA, "step_size": STEP_SIZE}


@dataclass(frozen=True)
class Row:
    """A case, how many chains and draws are timed, and the goal against devinterp 1.3.2."""

    case: Case
    chains: int
    draws: int
    goal: Goal
    rounds: int = 5
    peers: tuple[str, ...] = tuple(VERSIONS)


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a call before its first step, and of one step of one chain."""

    fixed: float
    step: float

    def of(self, chain_steps: int) -> float:
        """Returns the CPU seconds of a call with that many steps in all."""
        return self.fixed + self.step * chain_steps


def main() -> bool:
    """Prints the table; says whether all goals are kept."""
    keep_freed_memory()
    print("\n## Whole estimates through the public interface, CPU seconds; explicit step size, no burn-in")
    print("fixed: of a call before its first step (ours: losses and gradient at w* over all data, curvature, tracing).")
    print(f"at {_USUAL} steps: the ratio for chains of the default length, from fixed + steps x us.")
    if missing():
        print(f"skipped: {', '.join(missing())} not installed; run `make peers`.")
        return True
    print(
        f"{'network':20}{'batch':>6}{'n':>7}{'chains':>7}{'draws':>6}  {'who':16}"
        f"{'fixed s':>8}{'us/step':>9}{'total s':>9}{'ratio to ours':>24}{f'at {_USUAL} steps':>24}"
    )
    ours(cis())(**_SETTINGS, batch_size=128, chains=1, draws=_SHORT, seed=0)  # the first call of a process loads more
    return all([_print(row) for row in _rows()])


def _rows() -> list[Row]:
    seven, two, little = (Goal(bound, at_least=True) for bound in (7, 2, 1.2))
    return [
        Row(cis(), 8, 300, seven),
        Row(cis(), 32, 250, seven, peers=("devinterp_1",)),
        Row(autoencoder().at(100), 32, 250, seven, peers=("devinterp_1",)),
        Row(autoencoder(), 8, 250, seven),
        Row(mlp(), 8, 250, two),
        Row(transformer(), 8, 250, little, rounds=3),
    ]


def _print(row: Row) -> bool:
    case = row.case
    with ExitStack() as stack:
        ask: dict[str, Callable[..., Answer]] = {"ours": ours(case)}
        ask |= {name: stack.enter_context(running(name, case.problem)) for name in row.peers}
        same = {**_SETTINGS, "batch_size": case.batch_size}
        short: dict[str, list[float]] = {name: [] for name in ask}
        long: dict[str, list[float]] = {name: [] for name in ask}
        for name in row.peers:  # the first call of a process loads more
            ask[name](**same, chains=1, draws=_SHORT, seed=0)
        for number in range(row.rounds):
            for name, estimate in ask.items():
                if number < row.rounds - 2:
                    short[name].append(estimate(**same, chains=row.chains, draws=_SHORT, seed=number).seconds)
                long[name].append(estimate(**same, chains=row.chains, draws=row.draws, seed=number).seconds)
    costs = {name: _cost(median(short[name]), median(long[name]), row) for name in ask}
    first = f"{case.name:20}{case.batch_size:6}{len(case.problem.data[0]):7}{row.chains:7}{row.draws:6}  "
    kept = True
    for name, cost in costs.items():
        cells = f"{VERSIONS.get(name, name):16}{cost.fixed:8.2f}{cost.step * 1e6:9.0f}{median(long[name]):9.2f}"
        if name != "ours":
            ratio = median(a / b for a, b in zip(long[name], long["ours"], strict=True))
            usual = cost.of(row.chains * _USUAL) / costs["ours"].of(row.chains * _USUAL)
            goal = row.goal if name == "devinterp_1" else None
            judgements = judged(ratio, goal), judged(usual, goal)
            cells += f"{judgements[0][0]:>24}{judgements[1][0]:>24}"
            kept = kept and judgements[1][1]
        print(f"{first}{cells}", flush=True)
        first = " " * len(first)
    return kept


def _cost(short: float, long: float, row: Row) -> Cost:
    step = (long - short) / (row.draws - _SHORT) / row.chains
    return Cost(max(0.0, short - step * _SHORT * row.chains), step)


def ours(case: Case) -> Callable[..., Answer]:
    """Returns a function of the settings that estimates the LLC of a case with ``estimate_llc``."""
    loss, params = case.ours()

    def estimate(*, chains: int, draws: int, batch_size: int, seed: int, **settings: float) -> Answer:
        started = time.process_time()
        record = estimate_llc(
            loss, params, case.problem.data, chains=chains, draws=draws, burn_in=0, batch_size=batch_size, seed=seed,
            n_beta=settings["n_beta"], gamma=settings["gamma"], step_size=settings["step_size"], sampler="sgld",
        )  # fmt: skip
        return Answer(record.value, time.process_time() - started)

    return estimate
