"""How often intervals of ablation effects cover the truth, and p-values err: ``python -m benchmarks coverage``.

Tables: ``intervals``, ``errors``, ``unit``. By default 2000 simulated data sets; ``... coverage intervals 200`` takes
fewer, and ``... coverage intervals kept.jsonl`` keeps what is done in a file, and goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.intervals import CASES, coverage
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.significance import studentised, with_statistics

SETS = 2000

NULLS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "t, 3 degrees": lambda draw, shape: draw.standard_t(3, size=shape),
    "exponential": lambda draw, shape: draw.exponential(size=shape) - 1,
    "lognormal": lambda draw, shape: np.exp(draw.normal(size=shape)) - math.exp(0.5),
    "sparse": lambda draw, shape: (draw.random(shape) < 0.05) * draw.exponential(size=shape) - 0.05,
}
"""Effects of mean 0 per example."""


def errors(name: str, n: int, *, sets: int = SETS) -> tuple[float, float]:
    """Returns how often p is below .05 without an effect: of all data sets, and with status ok."""
    values = torch.from_numpy(NULLS[name](np.random.default_rng(n), (sets, n)))
    mean, spread = values.mean(1, keepdim=True), values.std(1)
    skews = ((values - mean).pow(3).sum(1) / (values - mean).square().sum(1).pow(1.5)).square()
    effects = [
        Effect("ablation_effect", value=float(one.mean()), stderr=float(sd) / n**0.5, n=n, per_example=one)
        for one, sd in zip(values, spread, strict=True)
    ]
    wrong = np.array([one.p <= 0.05 for one in studentised(effects, resamples=999, seed=0)])
    return float(wrong.mean()), float((wrong & (skews <= 1 / 15).numpy()).mean())


def unit(*, n: int = 400, among: int = 512) -> float:
    """Returns the adjusted p-value of one unit at 15 standard errors among nulls."""
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(among, n)))
    values[0] += 15 * values[0].std() / n**0.5 - values[0].mean()
    effects = [
        Effect("ablation_effect", value=float(one.mean()), stderr=float(one.std()) / n**0.5, n=n, per_example=one)
        for one in values
    ]
    return float(with_statistics(effects, resamples=999, seed=0)[0].details["p_adjusted"])


def main(arguments: list[str]) -> int:
    """Prints the tables that are named, or all."""
    sets = next((int(one) for one in arguments if one.isdigit()), SETS)
    kept = next((Path(one) for one in arguments if one.endswith(".jsonl")), None)
    tables = [one for one in arguments if one in ("intervals", "errors", "unit")] or ["intervals", "errors", "unit"]
    if "intervals" in tables:
        _print_intervals(sets, kept)
    if "errors" in tables:
        print(f"\nShare of p <= .05 without an effect, over {sets} data sets: of all, with status ok")
        for name in NULLS:
            told = [
                f"n {n}: {all_:.3f} {ok:.3f}" for n in (100, 200, 1000) for all_, ok in [errors(name, n, sets=sets)]
            ]
            print(f"{name:14} {'  '.join(told)}", flush=True)
    if "unit" in tables:
        print(f"\nOne unit at 15 errors among 511 nulls: adjusted p {unit():.1e} (goal < 1e-3)")
    return 0


def _print_intervals(sets: int, kept: Path | None) -> None:
    print(f"\n95 % over {sets} data sets. Goal: both cover .93 to .97, or with status ok no more than .07 miss")
    print(f"{'':24} {'':19} {'covered by':>12} {'':5} {'missed though ok':>17} {'SD /':>6}")
    print(f"{'':24} {'':19} {'1.96':>6} {'boot':>5} {'ok':>5} {'1.96':>11} {'boot':>5} {'error':>6} {'bias':>6}")
    for name in CASES:
        for method, one in coverage(name, sets=sets, kept=kept).items():
            shares = f"{one.normal:6.3f} {one.interval:5.3f} {one.ok:5.2f} {one.missed[0]:11.3f} {one.missed[1]:5.3f}"
            print(f"{name:24} {method:19} {shares} {one.ratio:6.2f} {one.bias:+6.2f}", flush=True)
