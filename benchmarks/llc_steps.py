"""One step of one chain against one SGD step, and against devinterp's optimizer, on the same network and batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.cases import GAMMA, N_BETA, STEP_SIZE, Case, autoencoder, cis, mlp, transformer
from benchmarks.goals import Goal, judged
from benchmarks.timing import cpu_seconds, ratio
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.batches import n_examples, take
from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.chains import run_chains
from llc_lightning.sampling.samplers.sgld import SGLD
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import StackedLoss

_SECONDS = 0.25
"""About how long one round of one method takes."""
_ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """A case, the number of chains, and the goals: a share of an SGD step, and times devinterp's step."""

    case: Case
    chains: int
    of_sgd: Goal | None = None
    over_devinterp: Goal | None = None


def main() -> bool:
    """Prints the table; says whether all goals are kept."""
    keep_freed_memory()
    print("\n## One step of one chain (medians of ratios of CPU time; SGLD, eager, its own minibatch for every chain)")
    print(f"{'network':20}{'batch':>6}{'chains':>7}{'us':>8}{'of an SGD step':>25}{'SGMCMC.sgld 2.0.1 / ours':>28}")
    return all([_print(row) for row in _rows()])


def _rows() -> list[Row]:
    image, tokens = mlp(), transformer()
    rows = [Row(image.at(32), 8, Goal(2.0), Goal(2.4, at_least=True))]
    rows += [Row(image.at(batch_size), 8, Goal(2.0)) for batch_size in (64, 128, 512)]
    for case in (cis(), autoencoder().at(100)):
        rows.append(Row(case, 1))
        rows += [Row(case, chains, Goal(0.4), Goal(4.4, at_least=True)) for chains in (8, 32)]
    rows += [Row(autoencoder(), chains) for chains in (1, 8, 32)]
    rows.append(Row(tokens.at(4), 8, Goal(0.85), Goal(1.7, at_least=True)))
    return [*rows, Row(tokens.at(8), 8), Row(tokens.at(16), 8)]


def _print(row: Row) -> bool:
    case, chains = row.case, row.chains
    single = {"sgd": _sgd(case), "devinterp": _devinterp(case)}
    steps = {name: _repeats(step, 1) for name, step in {**single, "ours": chain_steps(case, chains, 1)}.items()}
    things: dict[str, Callable[[], object]] = {name: _times(step, steps[name]) for name, step in single.items()}
    things["ours"] = chain_steps(case, chains, steps["ours"])
    seconds = cpu_seconds(things, rounds=_ROUNDS)
    ours = steps["ours"] * chains
    of_sgd = ratio(seconds, "ours", "sgd") * steps["sgd"] / ours
    over = ratio(seconds, "devinterp", "ours") * ours / steps["devinterp"]
    cells = judged(of_sgd, row.of_sgd), judged(over, row.over_devinterp)
    microseconds = median(seconds["ours"]) / ours * 1e6
    print(
        f"{case.name:20}{case.batch_size:6}{chains:7}{microseconds:8.0f}{cells[0][0]:>25}{cells[1][0]:>28}", flush=True
    )
    return cells[0][1] and cells[1][1]


def _repeats(step: Callable[[], object], least: int) -> int:
    """Returns how many steps fill a round."""
    seconds = min(cpu_seconds({"step": step}, rounds=3)["step"])
    return max(least, round(_SECONDS / max(seconds, 1e-5)))


def _times(step: Callable[[], object], count: int) -> Callable[[], None]:
    def steps() -> None:
        for _ in range(count):
            step()

    return steps


def _sgd(case: Case) -> Callable[[], None]:
    network = case.problem.network()
    return _step(case, network, torch.optim.SGD(network.parameters(), lr=STEP_SIZE))


def _devinterp(case: Case) -> Callable[[], None]:
    from devinterp.optim import SGMCMC

    network = case.problem.network()
    sampler = SGMCMC.sgld(network.parameters(), lr=STEP_SIZE, nbeta=N_BETA, localization=GAMMA)
    return _step(case, network, sampler)


def _step(case: Case, network: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    data = case.problem.data
    n = n_examples(data)

    def step() -> None:
        batch = take(data, torch.randint(n, (case.batch_size,)))
        optimizer.zero_grad()
        network.per_example_loss(batch).mean().backward()
        optimizer.step()

    return step


def chain_steps(
    case: Case, chains: int, steps: int, masks: Sequence[Mapping[str, Tensor]] = ()
) -> Callable[[], object]:
    """Returns a call that runs that many steps of that many chains; its first call also prepares.

    Args:
        case: What is timed.
        chains: Chains of every lane.
        steps: Steps of every chain.
        masks: What each lane moves; by default one moves everything.
    """
    loss, params = case.ours()
    with torch.no_grad():
        baseline = loss(params, case.problem.data)
    lanes = [moved_entries(params, mask) for mask in masks] or [moved_entries(params, None)]
    stacked = StackedLoss(loss, params, lanes)
    every = torch.ones(stacked.width)
    posterior = Posterior(stacked.start(1), N_BETA * every, GAMMA * every)
    sampler = SGLD(posterior, STEP_SIZE * every, None)
    return lambda: run_chains(
        stacked, sampler, case.problem.data, baseline,
        seed=0, chains=range(chains), steps=steps, batch_size=case.batch_size,
    )  # fmt: skip
