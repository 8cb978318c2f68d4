"""What the restricted estimates of all components cost, against as many estimates of the full model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Literal

from torch import Tensor

from benchmarks.cases import GAMMA, N_BETA, STEP_SIZE, Case, cis, mlp, transformer
from benchmarks.goals import Goal, judged
from benchmarks.llc_steps import chain_steps
from benchmarks.parts import heads_and_mlps, layers, neurons
from benchmarks.timing import cpu_seconds
from llc_lightning.llc.estimator import estimate_parts, lane_batches
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.batches import Params
from llc_lightning.sampling.centre import centre_of
from llc_lightning.sampling.slices import moved_entries

_CHAINS = 4
_FEW = 4
_SHARE = Goal(0.6)


def main() -> bool:
    """Prints the table; says whether all goals are kept."""
    keep_freed_memory()
    print(f"\n## Restrictions: all components in one call against that many full models, {_CHAINS} chains, CPU time")
    print(
        f"ms/step: of all chains of all components. fixed: of a call with {_FEW} draws less its steps, per component,"
    )
    print("given the loss and gradient at w*: curvature, diagnostics; graphs are those of an earlier call.")
    print(
        f"{'network':20}{'n':>6}{'batch':>6}  {'components':18}{'ms/step':>9}{'of full chains':>24}"
        f"{'fixed ms each':>26}{'with automatic steps':>26}"
    )
    return all(
        [
            _print(cis(), "32 neurons", neurons, steps=100, most=Goal(15.0)),
            _print(mlp(), "3 layers", layers, steps=20, most=Goal(60.0)),
            _print(transformer(64), "8 heads, 2 MLPs", heads_and_mlps, steps=4, most=Goal(250.0)),
        ]
    )


def _print(case: Case, what: str, parts_of: Callable[[Params], list[Restriction]], *, steps: int, most: Goal) -> bool:
    parts = parts_of(case.ours()[1])
    step, share = _step(case, [part.moved or {} for part in parts], steps)
    fixed = [_fixed(case, parts, size, step) * 1e3 for size in (STEP_SIZE, "auto")]
    cells = judged(share, _SHARE), judged(fixed[0], most, ".0f"), judged(fixed[1], most, ".0f")
    print(
        f"{case.name:20}{len(case.problem.data[0]):6}{case.batch_size:6}  {what:18}{step * 1e3:9.1f}"
        f"{cells[0][0]:>24}{cells[1][0]:>26}{cells[2][0]:>26}",
        flush=True,
    )
    return all(kept for _, kept in cells)


def _step(case: Case, masks: Sequence[Mapping[str, Tensor]], steps: int) -> tuple[float, float]:
    """Returns the seconds of a step of all components, and its share of as many full models."""
    layouts = [moved_entries(case.ours()[1], mask).layout for mask in masks]
    together = [[masks[i] for i in chosen] for chosen in lane_batches(layouts)]
    things = {str(number): chain_steps(case, _CHAINS, steps, some) for number, some in enumerate(together)}
    seconds = cpu_seconds({**things, "full": chain_steps(case, _CHAINS, steps)}, rounds=5)
    parts = [sum(seconds[name][turn] for name in things) for turn in range(5)]
    share = median(part / full for part, full in zip(parts, seconds["full"], strict=True)) / len(masks)
    return median(parts) / steps, share


def _fixed(case: Case, parts: Sequence[Restriction], step_size: float | Literal["auto"], step: float) -> float:
    """Returns the seconds of a component before its first step and after its last."""
    loss, params = case.ours()
    centre = centre_of(loss, params, case.problem.data, params.keys())
    settings = ChainSettings(
        sampler="sgld", step_size=step_size, chains=_CHAINS, draws=_FEW, burn_in=0, batch_size=case.batch_size
    )
    found: list[float] = []
    for _ in range(3):
        started = time.process_time()
        estimate_parts(loss, params, case.problem.data, parts, [Resolution(N_BETA, GAMMA)], settings, centre=centre)
        found.append(time.process_time() - started)
    return max(0.0, median(found) - _FEW * step) / len(parts)
