"""One step of one chain against one SGD step, and against devinterp's sampler, on the same network and batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import cpu_seconds, ratio
from llc_lightning.components.loss import loss_fn
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.batches import n_examples, take
from llc_lightning.runtime.types import Batch
from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.chains import run_chains
from llc_lightning.sampling.sgld import SGLD
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import StackedLoss

BATCH = 128
N_BETA, GAMMA, STEP_SIZE = 1000.0, 100.0, 1e-6


@dataclass(frozen=True)
class Case:
    """A network, the chains to run, and what is promised."""

    name: str
    module: nn.Module
    data: Batch
    chains: tuple[int, ...]
    steps: int
    of_sgd: tuple[float, ...]
    over_devinterp: tuple[float, ...]


class MLP(nn.Module):
    """A classifier of the size of MNIST and FashionMNIST together."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (784, 256, 256, 20)
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        self.net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the cross-entropy of every example."""
        return F.cross_entropy(self.net(batch[0]), batch[1], reduction="none")


def main() -> int:
    """Prints the table; returns 1 where a promise is not kept."""
    keep_freed_memory()
    print("one step of one chain at batch 128, medians of ratios of CPU time")
    print(f"{'network':28}{'chains':>7}{'us':>8}{'of an SGD step':>22}{'devinterp / ours':>22}")
    kept = [_print(case, chains, at) for case in _cases() for at, chains in enumerate(case.chains)]
    return 0 if all(kept) else 1


def _cases() -> list[Case]:
    torch.manual_seed(0)
    cis = Case("CIS 64-32-32", CISModel(), CISData().analysis_set(16384), (8, 32), 200, (0.40, 0.30), (4.0, 4.0))
    images = (torch.randn(8192, 784), torch.randint(20, (8192,)))
    return [cis, Case("MLP 784-256-256-20", MLP(), images, (8,), 8, (1.6,), (1.15,))]


def _print(case: Case, chains: int, at: int) -> bool:
    things = {"sgd": _sgd(case), "devinterp": _devinterp(case), "ours": _ours(case, chains)}
    seconds = cpu_seconds(things)
    of_sgd = ratio(seconds, "ours", "sgd") / chains
    over = ratio(seconds, "devinterp", "ours") * chains
    microseconds = sorted(seconds["ours"])[len(seconds["ours"]) // 2] / case.steps / chains * 1e6
    promised = f"{of_sgd:.3f} (<= {case.of_sgd[at]:.2f})", f"{over:.2f} (>= {case.over_devinterp[at]:.2f})"
    print(f"{case.name:28}{chains:7}{microseconds:8.0f}{promised[0]:>22}{promised[1]:>22}")
    return of_sgd <= case.of_sgd[at] and over >= case.over_devinterp[at]


def _sgd(case: Case) -> Callable[[], None]:
    module = copy.deepcopy(case.module)
    optimizer = torch.optim.SGD(module.parameters(), lr=STEP_SIZE)
    return _loop(case, module, optimizer)


def _devinterp(case: Case) -> Callable[[], None]:
    from devinterp.optim import SGMCMC

    module = copy.deepcopy(case.module)
    sampler = SGMCMC.sgld(module.parameters(), lr=STEP_SIZE, nbeta=N_BETA, localization=GAMMA)
    return _loop(case, module, sampler)


def _loop(case: Case, module: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    n = n_examples(case.data)

    def steps() -> None:
        for _ in range(case.steps):
            batch = take(case.data, torch.randint(n, (BATCH,)))
            optimizer.zero_grad()
            module.per_example_loss(batch).mean().backward()
            optimizer.step()

    return steps


def _ours(case: Case, chains: int) -> Callable[[], None]:
    loss = loss_fn(case.module)
    params = {name: parameter.detach() for name, parameter in case.module.named_parameters()}
    with torch.no_grad():
        baseline = loss(params, case.data)
    stacked = StackedLoss(loss, params, [moved_entries(params, None)])
    posterior = Posterior(stacked.start(1), torch.tensor([N_BETA]), torch.tensor([GAMMA]))
    sampler = SGLD(posterior, torch.tensor([STEP_SIZE]), None)

    def steps() -> None:
        run_chains(
            stacked, sampler, case.data, baseline,
            seed=0, chains=range(chains), steps=case.steps, batch_size=BATCH,
        )  # fmt: skip

    return steps
