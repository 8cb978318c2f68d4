"""What the restricted estimates of all components cost, against as many estimates of the full model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.cases import GAMMA, N_BETA, STEP_SIZE, Case, mlp, transformer
from benchmarks.goals import Goal, judged
from benchmarks.parts import heads_and_mlps, layers
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.parts import Part, Resolution
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.types import Params
from llc_lightning.sampling.centre import centre_of

_CHAINS = 4
_SHORT = 4
_USUAL = 700
"""Steps per chain of an estimate with default settings."""
_FULL_STEPS = 120
"""Beside its fixed cost, a short run of the full model would not show in the noise."""
_SHARE, _FIXED = Goal(0.6), Goal(20.0)

StepSize = float | Literal["auto"]


@dataclass(frozen=True)
class Line:
    """CPU seconds of a call as a straight line over the number of steps."""

    fixed: float
    step: float

    def at(self, steps: int) -> float:
        """Returns the CPU seconds of that many steps."""
        return self.fixed + self.step * steps


def main() -> bool:
    """Prints the table; says whether all goals are kept."""
    keep_freed_memory()
    print(f"\n## Restrictions: all components in one call against that many full models, {_CHAINS} chains, CPU time")
    print("ms/step: of all chains of all components. fixed: intercept over the number of steps, per component, given")
    print("the loss and gradient at w*; it grows with n up to 4096, the settings' curvature_examples. Ratios: of one")
    print("step, and of whole estimates of the default length.")
    print(
        f"{'network':20}{'n':>6}{'batch':>6}  {'components':18}{'step size':>10}{'ms/step':>9}{'of full chains':>24}"
        f"{'fixed ms each':>26}{f'at {_USUAL} steps':>24}"
    )
    image, tokens = mlp(), transformer(16)
    return all(
        [
            _print(image, "3 layers", layers, steps=60, rounds=2),
            _print(tokens, "8 heads, 2 MLPs", heads_and_mlps, steps=6, rounds=1),
        ]
    )


def _print(case: Case, what: str, parts_of: Callable[[Params], list[Part]], *, steps: int, rounds: int) -> bool:
    parts = parts_of(case.ours()[1])
    kept = True
    for step_size in (STEP_SIZE, "auto"):
        all_parts = _line(case, parts, step_size, steps=steps, rounds=rounds)
        full = _line(case, [Part(None, whole=True)], step_size, steps=_FULL_STEPS, rounds=rounds)
        count = len(parts)
        cells = (
            judged(all_parts.step / full.step / count, _SHARE),
            judged(all_parts.fixed / count * 1e3, _FIXED, ".0f"),
            judged(all_parts.at(_USUAL) / full.at(_USUAL) / count, _SHARE),
        )
        given = step_size if step_size == "auto" else "given"
        print(
            f"{case.name:20}{len(case.problem.data[0]):6}{case.batch_size:6}  {what:18}{given:>10}"
            f"{all_parts.step * 1e3:9.1f}{cells[0][0]:>24}"
            f"{cells[1][0]:>26}{cells[2][0]:>24}"
            f"   (full: {full.step * 1e3:.1f} ms/step, fixed {full.fixed * 1e3:.0f} ms)",
            flush=True,
        )
        kept = kept and all(judgement for _, judgement in cells)
    return kept


def _line(case: Case, parts: Sequence[Part], step_size: StepSize, *, steps: int, rounds: int) -> Line:
    loss, params = case.ours()
    centre = centre_of(loss, params, case.problem.data, params.keys())

    def seconds(draws: int) -> float:
        settings = ChainSettings(
            step_size=step_size, chains=_CHAINS, draws=draws, burn_in=0, batch_size=case.batch_size
        )
        started = time.process_time()
        estimate_parts(loss, params, case.problem.data, parts, [Resolution(N_BETA, GAMMA)], settings, centre=centre)
        return time.process_time() - started

    pairs = [(seconds(_SHORT), seconds(_SHORT + steps)) for _ in range(rounds)]
    step = median(long - short for short, long in pairs) / steps
    return Line(median(short for short, _ in pairs) - _SHORT * step, step)
