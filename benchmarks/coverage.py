"""How often intervals of ablation effects cover the truth, and p-values err: ``python -m benchmarks coverage``.

Tables: ``intervals``, ``errors``, ``unit``. By default 2000 simulated data sets; ``... coverage intervals 200`` takes
fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.significance import studentised, with_statistics
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.batches import Batch

SETS = 2000
METHODS = ("zero", "mean", "resample(draws=1)", "resample", "resample(draws=16)", "optimal")
_POPULATION = 40_000
"""Examples that the truth is measured on."""


class Classifier(nn.Module):
    """Knows a rare class from one of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Identity(), nn.Linear(2, 1)
        with torch.no_grad():
            self.out.weight.copy_(torch.tensor([[3.0, 1.0]]))
            self.out.bias.fill_(-2.5)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the cross-entropy."""
        return F.binary_cross_entropy_with_logits(self.out(self.hidden(batch[0]))[:, 0], batch[1], reduction="none")


class Regression(nn.Module):
    """Predicts a sum of skewed inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Identity(), nn.Linear(2, 1)
        with torch.no_grad():
            self.out.weight.fill_(1.0)
            self.out.bias.fill_(0.0)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the absolute error."""
        return (self.out(self.hidden(batch[0]))[:, 0] - batch[1]).abs()


def _rare(n: int, stream: torch.Generator) -> Batch:
    label = (torch.rand(n, generator=stream) < 0.15).float()
    return torch.stack([label + 0.3 * torch.randn(n, generator=stream), torch.randn(n, generator=stream)], 1), label


def _skewed(n: int, stream: torch.Generator) -> Batch:
    x = -torch.rand(n, 2, generator=stream).clamp_min(1e-9).log()
    return x, x.sum(1) + 0.5 * torch.randn(n, generator=stream) + 0.3


def _tokens(n: int, stream: torch.Generator) -> Batch:
    tokens = torch.randint(0, 5, (n, 6), generator=stream)
    return tokens[:, :-1], tokens[:, 1:]


def _transformer() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = TransformerModel(5, 5, d_model=8, d_mlp=16)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape))
    return module


@dataclass(frozen=True)
class Case:
    """A net, the component that is ablated, and its data."""

    module: Callable[[], nn.Module]
    component: str
    data: Callable[[int, torch.Generator], Batch]
    n: int = 200


CASES = {
    "imbalanced classifier": Case(Classifier, "hidden[0]", _rare),
    "skewed regression": Case(Regression, "hidden[0]", _skewed),
    "transformer head": Case(_transformer, "net.blocks.0.attn.hook_z[1]", _tokens),
}


@dataclass(frozen=True)
class Coverage:
    """Of one method on one net, over data sets."""

    normal: float
    """Share that lies within 1.96 standard errors of the truth."""
    interval: float
    """Share whose interval holds the truth."""
    ok: float
    """Share with status ok."""
    ratio: float
    """SD over data sets by the mean standard error."""


def intervals(case: Case, *, sets: int = SETS, resamples: int = 199) -> dict[str, Coverage]:
    """Returns for every method how often its errors cover the effect in the population."""
    module = case.module()
    truth = {one.method: one.value for one in _effects(case, module, _POPULATION, 10**6)}
    found: dict[str, list[Effect]] = {method: [] for method in METHODS}
    for seed in range(sets):
        for one in with_statistics(_effects(case, module, case.n, seed), resamples=resamples, seed=seed):
            found[one.method].append(one)
    return {method: _coverage(found[method], truth[method]) for method in METHODS}


def _effects(case: Case, module: nn.Module, n: int, seed: int) -> list[Effect]:
    parts = find_components(module, [case.component])
    data = case.data(n, torch.Generator().manual_seed(seed))
    found = sweep(loss_fn(module), snapshot_params(module), data, parts, METHODS, seed=seed, per_example=True)
    return [one for one in found if one.quantity == "ablation_effect"]


def _coverage(found: list[Effect], truth: float) -> Coverage:
    values, errors = np.array([one.value for one in found]), np.array([one.stderr for one in found])
    inside = [float(one.details["low"]) <= truth <= float(one.details["high"]) for one in found]
    return Coverage(
        float((np.abs(values - truth) < 1.96 * errors).mean()),
        float(np.mean(inside)),
        float(np.mean([one.status == "ok" for one in found])),
        float(values.std() / errors.mean()),
    )


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
    tables = [one for one in arguments if not one.isdigit()] or ["intervals", "errors", "unit"]
    if "intervals" in tables:
        print(
            f"\nCoverage of 95 % over {sets} data sets of 200 examples: +- 1.96 errors, interval; share ok; SD / error"
        )
        for name, case in CASES.items():
            for method, one in intervals(case, sets=sets).items():
                print(
                    f"{name:22} {method:20} {one.normal:.3f} {one.interval:.3f}  {one.ok:.2f}  {one.ratio:.2f}",
                    flush=True,
                )
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
