"""Chain-steps and ablations per second on a GPU, beside a plain loop, devinterp's loop, and what bounds them.

    python -m benchmarks gpu

Goals: 32 chains cost at most twice one chain for the MLP and the transformer, 512 for CIS; 20 times the chain-steps of
devinterp's loop; 50 times the ablations of a plain loop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.cases import Case, cis, mlp, transformer
from benchmarks.llc_steps import chain_steps, devinterp_step
from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.models.image import ImageModel

_STEPS, _ROUNDS = 50, 5
_LAUNCH = 7e-6
"""Seconds that an operation takes to be launched, eagerly."""
_PASSES = 7
"""Times that a step reads or writes all weights of its chains: gradient, noise, pull, update."""
_CASES = ((mlp, 32), (transformer, 32), (cis, 512))
_TWICE, _OVER_DEVINTERP, _OVER_LOOP = 2.0, 20.0, 50.0


def main(arguments: list[str]) -> int:
    """Prints the tables; returns 1 where a goal is missed, and 0 where there is no GPU."""
    argparse.ArgumentParser(prog="python -m benchmarks gpu").parse_args(arguments)
    if not torch.cuda.is_available():
        print("\nno GPU at hand: nothing is timed; tests/sampling/test_dispatches.py counts operations without one")
        return 0
    device = torch.cuda.get_device_properties(0)
    print(f"\n## {device.name}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    kept = [_chains(case(), most) for case, most in _CASES]
    return int(not all([*kept, _ablations()]))


def _chains(case: Case, most: int) -> bool:
    """Prints chain-steps per second of more and more chains."""
    case = _on_gpu(case)
    single = 1 / _seconds(devinterp_step(case, "cuda"))
    bandwidth = _bandwidth()
    weights = sum(parameter.numel() for parameter in case.ours()[1].values())
    print(
        f"{'network':20}{'chains':>7}{'chain-steps/s':>15}{'of one chain':>14}{'of devinterp':>14}{'bandwidth bound':>17}"
    )
    first = 0.0
    for chains in (1, 8, 32, 128, 512):
        each = _seconds(chain_steps(case, chains, _STEPS)) / _STEPS
        first = first or each
        bound = chains / max(_PASSES * 4 * weights * chains / bandwidth, _LAUNCH)
        print(
            f"{case.name:20}{chains:7}{chains / each:15.0f}{each / first:14.2f}{chains / each / single:14.1f}{bound:17.0f}"
        )
        if chains == most:
            kept = each / first <= _TWICE and chains / each >= _OVER_DEVINTERP * single
    return kept


def _ablations() -> bool:
    """Prints zero ablations per second, of one table and of a loop over components."""
    net = ImageModel(layout="mix20", width=256, depth=2).cuda()
    x = torch.randn(512, *net.image_shape, device="cuda")
    labels = torch.zeros(512, 2, dtype=torch.long, device="cuda")
    together = _seconds(lambda: ablation_effects(net, (x, labels), components="neurons", methods="zero"))

    def one() -> None:
        with torch.no_grad():
            handle = net.net.get_submodule("hook_hidden.0").register_forward_hook(lambda _, __, out: out * 1.0)
            net.per_example_loss((x, labels)).mean()
            handle.remove()

    loop, number = _seconds(one), 512
    print(f"\nablations/s: {number / together:.0f}, by a plain loop {1 / loop:.0f}")
    return number / together >= _OVER_LOOP / loop


def _on_gpu(case: Case) -> Case:
    """Returns a case with its network, data and module on the GPU."""
    data = tuple(tensor.cuda() for tensor in case.problem.data)
    problem = replace(case.problem, data=data, state={name: one.cuda() for name, one in case.problem.state.items()})
    return replace(case, problem=problem, module=None if case.module is None else case.module.cuda())


def _bandwidth() -> float:
    """Returns the bytes that a copy moves in a second."""
    one = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(one)
    return 2 * one.numel() / _seconds(lambda: other.copy_(one))


def _seconds(do: Callable[[], object]) -> float:
    """Returns the least seconds of some rounds, after one that is not counted."""
    do()
    least = float("inf")
    for _ in range(_ROUNDS):
        torch.cuda.synchronize()
        started = time.perf_counter()
        do()
        torch.cuda.synchronize()
        least = min(least, time.perf_counter() - started)
    return least
