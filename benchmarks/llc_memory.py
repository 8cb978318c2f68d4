"""Memory per chain: the peak of a process with few chains against one with many, beside the formula."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import torch
from torch import Tensor

from benchmarks.cases import Case, autoencoder, cis, mlp, transformer
from benchmarks.goals import Goal, judged
from benchmarks.llc_steps import chain_steps
from benchmarks.peers.peer import ROOT

_CASES = {"mlp": mlp, "cis": cis, "autoencoder": autoencoder, "transformer": transformer}
_CHAINS = {"mlp": (8, 40), "cis": (512, 2560), "autoencoder": (128, 640), "transformer": (4, 20)}
_STEPS = 3


def main() -> bool:
    """Prints the table; says whether all are within the formula."""
    print("\n## Memory per chain, MB: slope of the peak resident size over the number of chains")
    print("formula: 3 x weights x 4 bytes (place, gradient, noise) + the minibatch + what backward keeps, of one chain")
    print(
        f"{'network':20}{'batch':>6}{'weights':>9}  {'chains':12}{'formula':>9}{'measured':>10}"
        f"{'measured / formula':>30}"
    )
    return all([_print(name) for name in _CASES])


def _print(name: str) -> bool:
    case = _CASES[name]()
    few, many = _CHAINS[name]
    measured = (_peak_elsewhere(name, many) - _peak_elsewhere(name, few)) / (many - few)
    weights = sum(parameter.numel() for parameter in case.problem.network().parameters())
    formula = 3 * weights * 4 + kept_bytes(case)
    cell, kept = judged(measured / formula, Goal(1.0))
    print(
        f"{case.name:20}{case.batch_size:6}{weights:9}  {f'{few}, {many}':12}"
        f"{formula / 1e6:9.2f}{measured / 1e6:10.2f}{cell:>30}",
        flush=True,
    )
    return kept


def kept_bytes(case: Case) -> int:
    """Returns the bytes of one chain's minibatch and of the activations that its backward pass needs."""
    network = case.problem.network()
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    batch = tuple(tensor[: case.batch_size].clone() for tensor in case.problem.data)
    kept: dict[int, int] = {tensor.data_ptr(): tensor.nbytes for tensor in batch}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network.per_example_loss(batch).mean()
    loss.backward()
    return sum(kept.values())


def _peak_elsewhere(name: str, chains: int) -> int:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.llc_memory", name, str(chains)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, capture_output=True, check=True
    )
    return int(done.stdout)


def _peak_here(name: str, chains: int) -> int:
    """Returns the peak resident bytes of this process after some steps of that many chains."""
    torch.set_num_threads(1)
    chain_steps(_CASES[name](), chains, _STEPS)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(_peak_here(sys.argv[1], int(sys.argv[2])))
