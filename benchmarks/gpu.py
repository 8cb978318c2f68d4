"""Chain-steps and ablations per second on a GPU, beside a plain loop, devinterp's loop, and what bounds them.

    python -m benchmarks gpu
    python -m benchmarks gpu --device cpu --chains 1 8      the same code where there is none; its goals are of a GPU

Goals: 32 chains cost at most twice one chain for the MLP and the transformer, 512 for CIS; 20 times the chain-steps of
devinterp's loop; 50 times the ablations of a plain loop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from torch import nn

from benchmarks.cases import GAMMA, N_BETA, STEP_SIZE, Case, cis, mlp, transformer
from benchmarks.llc_steps import chain_steps
from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.models.image import ImageModel
from llc_lightning.runtime.batches import n_examples, take

_STEPS, _ROUNDS = 50, 5
_LAUNCH = 7e-6
"""Seconds that an operation takes to be launched, eagerly."""
_PASSES = 7
"""Times that a step reads or writes all weights of its chains: gradient, noise, pull, update."""
_CASES = ((mlp, 32), (transformer, 32), (cis, 512))
"""With the number of chains that are to cost at most twice as much as one."""
_TWICE, _OVER_DEVINTERP, _OVER_LOOP = 2.0, 20.0, 50.0


def main(arguments: list[str]) -> int:
    """Prints the tables; returns 1 where a goal is missed, and 0 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--chains", type=int, nargs="+", default=[1, 8, 32, 128, 512])
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("\nno GPU at hand: nothing is timed; tests/sampling/test_dispatches.py counts operations without one")
        return 0
    name = torch.cuda.get_device_name(0) if given.device == "cuda" else given.device
    print(f"\n## {name}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    print(
        f"{'network':20}{'chains':>7}{'chain-steps/s':>15}{'of one':>9}{'of a loop':>11}{'devinterp':>11}{'bound':>11}"
    )
    kept = [_chains(_on(case(), given.device), given.chains, most, given.device) for case, most in _CASES]
    return int(not all([*kept, _ablations(given.device)]))


def _chains(case: Case, numbers: list[int], most: int, device: str) -> bool:
    """Prints chain-steps per second of more and more chains; bound: by bandwidth and launches."""
    optimizers: Any = import_module("devinterp.optim")  # it carries no types

    nets = [case.problem.network().to(device) for _ in range(2)]
    plain = _seconds(_step(case, nets[0], torch.optim.SGD(nets[0].parameters(), lr=STEP_SIZE)), device)
    sampler = optimizers.SGMCMC.sgld(nets[1].parameters(), lr=STEP_SIZE, nbeta=N_BETA, localization=GAMMA)
    devinterp = _seconds(_step(case, nets[1], sampler), device)
    weights, bandwidth = sum(one.numel() for one in nets[0].parameters()), _bandwidth(device)
    kept, first = True, 0.0
    for chains in numbers:
        each = _seconds(chain_steps(case, chains, _STEPS), device) / _STEPS
        first = first or each
        bound = chains / max(_PASSES * 4 * weights * chains / bandwidth, _LAUNCH)
        rate = chains / each
        ratios = f"{each / first:9.2f}{rate * plain:11.1f}{rate * devinterp:11.1f}"
        print(f"{case.name:20}{chains:7}{rate:15.0f}{ratios}{bound:11.0f}", flush=True)
        kept &= chains != most or (each / first <= _TWICE and rate * devinterp >= _OVER_DEVINTERP)
    return kept


def _step(case: Case, network: Any, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    data = case.problem.data

    def step() -> None:
        batch = take(data, torch.randint(n_examples(data), (case.batch_size,), device=data[0].device))
        optimizer.zero_grad()
        network.per_example_loss(batch).mean().backward()
        optimizer.step()

    return step


def _ablations(device: str) -> bool:
    """Prints zero ablations per second, of one table and of a loop over components."""
    net = ImageModel(layout="mix20", width=256, depth=2).to(device)
    x = torch.randn(512, *net.image_shape, device=device)
    batch = x, torch.zeros(512, 2, dtype=torch.long, device=device)
    hook = net.net.get_submodule("hook_hidden.0")
    together = _seconds(lambda: ablation_effects(net, batch, components="neurons", methods="zero"), device) / 512

    def one() -> None:
        with torch.no_grad():
            handle = hook.register_forward_hook(_copied)
            net.per_example_loss(batch).mean()
            handle.remove()

    loop = _seconds(one, device)
    print(f"\nablations/s: {1 / together:.0f}, by a plain loop {1 / loop:.0f}: {loop / together:.1f} times")
    return loop / together >= _OVER_LOOP


def _copied(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """Stands for a replaced activation."""
    return output * 1.0


def _on(case: Case, device: str) -> Case:
    """Returns a case with its data, and what ours runs on, on a device."""
    data = tuple(tensor.to(device) for tensor in case.problem.data)
    module = (case.module or case.problem.network()).to(device)
    return replace(case, problem=replace(case.problem, data=data), module=module)


def _bandwidth(device: str) -> float:
    """Returns the bytes that a copy moves in a second."""
    one = torch.empty(2**26, dtype=torch.uint8, device=device)
    other = torch.empty_like(one)
    return 2 * one.numel() / _seconds(lambda: other.copy_(one), device)


def _seconds(do: Callable[[], object], device: str) -> float:
    """Returns the least seconds of some rounds, after one that is not counted."""
    do()
    least = float("inf")
    for _ in range(_ROUNDS):
        started = _now(device)
        do()
        least = min(least, _now(device) - started)
    return least


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() if device == "cuda" else time.process_time()
