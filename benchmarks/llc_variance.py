"""The spread of estimates over repeats at an equal number of gradients, and the cost at an equal standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import mean, median, stdev

from benchmarks.cases import Case
from benchmarks.goals import Goal, judged
from benchmarks.llc_estimates import ours
from benchmarks.mnist import mnist_folder, trained_mlp
from benchmarks.peers.peer import VERSIONS, Answer, missing, running
from llc_lightning.runtime.allocator import keep_freed_memory

_N, _TRAINING_STEPS = 20_000, 500
_REPEATS = 16
_CHAINS, _DRAWS, _BATCH = 4, 200, 32
"""The defaults of devinterp 2.0.1."""
_GAMMA, _STEP_SIZE = 100.0, 1e-6


@dataclass(frozen=True)
class Resolution:
    """An n_beta, and the goals: ours to each peer in SD, and the peer's cost to ours at an equal standard error."""

    name: str
    n_beta: float
    spread: dict[str, Goal]
    cost: dict[str, Goal]


def main() -> bool:
    """Prints the tables; says whether all goals are kept."""
    keep_freed_memory()
    print(f"\n## Spread over {_REPEATS} repeats, MLP 784-256-256-20 after {_TRAINING_STEPS} Adam steps on {_N} digits")
    print(
        f"{_CHAINS} chains x {_DRAWS} draws, batch {_BATCH} (devinterp 2.0.1's defaults), gamma {_GAMMA:g}, step size "
        f"{_STEP_SIZE:g}, no burn-in. The SD of {_REPEATS} repeats is known to {1 / math.sqrt(2 * _REPEATS - 2):.0%}."
    )
    print("cost at equal error: variance ratio x ratio of CPU seconds of the whole call.")
    folder = mnist_folder()
    if folder is None or missing():
        lacking = f"{', '.join(missing())} not installed; run `make peers`"
        print(f"skipped: {lacking if missing() else 'no MNIST; set LLC_LIGHTNING_DATA to the folder of data sets'}.")
        return True
    problem = trained_mlp(folder, n=_N, steps=_TRAINING_STEPS)
    print(
        f"{'n_beta':>14} {'':8} {'who':16}{'mean':>8}{'SD':>8}{'CPU s':>7}{'ours SD / its SD':>28}"
        f"{'its cost / ours at equal error':>36}"
    )
    return all([_print(problem_case, at) for problem_case in [Case("MNIST", problem, _BATCH)] for at in _resolutions()])


def _resolutions() -> list[Resolution]:
    spread = {"devinterp_1": Goal(0.1), "devinterp_2": Goal(1 / 3)}
    thirty = {"devinterp_2": Goal(30, at_least=True)}
    return [
        Resolution("n / ln n", _N / math.log(_N), spread, thirty),
        Resolution("B / ln B", _BATCH / math.log(_BATCH), {}, thirty),
    ]


def _print(case: Case, at: Resolution) -> bool:
    answers = _repeats(case, at.n_beta)
    spread = {name: stdev(answer.value for answer in given) for name, given in answers.items()}
    seconds = {name: median(answer.seconds for answer in given) for name, given in answers.items()}
    kept, first = True, f"{at.n_beta:14.1f} {at.name:8} "
    for name, given in answers.items():
        average = mean(answer.value for answer in given)
        cells = f"{VERSIONS.get(name, name):16}{average:8.2f}{spread[name]:8.3f}{seconds[name]:7.2f}"
        if name != "ours":
            narrower = judged(spread["ours"] / spread[name], at.spread.get(name), ".3f")
            cheaper = (spread[name] / spread["ours"]) ** 2 * seconds[name] / seconds["ours"]
            cost = judged(cheaper, at.cost.get(name), ".0f")
            cells += f"{narrower[0]:>28}{cost[0]:>36}"
            kept = kept and narrower[1] and cost[1]
        print(f"{first}{cells}", flush=True)
        first = " " * len(first)
    return kept


def _repeats(case: Case, n_beta: float) -> dict[str, list[Answer]]:
    """Returns the estimates of ours and of every peer, made in turns."""
    settings = {
        "n_beta": n_beta, "gamma": _GAMMA, "step_size": _STEP_SIZE,
        "chains": _CHAINS, "draws": _DRAWS, "batch_size": _BATCH,
    }  # fmt: skip
    with ExitStack() as stack:
        ask: dict[str, Callable[..., Answer]] = {"ours": ours(case)}
        ask |= {name: stack.enter_context(running(name, case.problem)) for name in VERSIONS}
        answers: dict[str, list[Answer]] = {name: [] for name in ask}
        for number in range(_REPEATS):
            for name, estimate in ask.items():
                answers[name].append(estimate(**settings, seed=1000 * (number + 1)))
    return answers
