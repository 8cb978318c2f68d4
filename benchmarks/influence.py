"""Influence tested as influence: does it foretell what retraining on other examples does to a loss?

python -m benchmarks influence                 both nets; EK-FAC where `make peers` has made its environment
python -m benchmarks influence perceptron

Linear datamodelling score (Park et al. 2023, arXiv:2303.14186): over random halves of the training examples, Spearman's
correlation of the summed influences of a half on a query and the query's loss after retraining on that half, mean over
queries.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn import functional as F
from torch.nn.functional import avg_pool2d

from benchmarks.influence_nets import NETS, Problem, Weights, initial, losses, trained
from llc_lightning.analysis.correlation import ranks
from llc_lightning.data.image_sets import ImageSet
from llc_lightning.data.image_sources import load_images
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.posterior.plan import PosteriorPlan
from llc_lightning.measure.snapshot import Snapshot

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".peers" / "kronfluence-1.0.1" / "bin" / "python"
EXAMPLES, QUERIES = 512, 128
SETS = {"perceptron": 0, "convolution": 1}
"""MNIST and Fashion-MNIST."""
TRAININGS, AGAIN = (0, 1, 2), (3, 4, 5)
"""Seeds whose losses are averaged, and those of the same trainings once more."""
COLD = 100
"""n_beta over the number of examples."""
CHAINS: dict[str, ChainSettings] = {
    "sgnht, 8 x 8,000 draws": ChainSettings(sampler="sgnht", step_fraction=1.6, draws=8000, burn_in=1000),
    "default chains, lm, 8 x 500 draws": ChainSettings(),
}
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """What a method says of the examples."""

    effects: Array
    """The change of each query's loss with each example's weight, up to a factor, [example, query]."""
    seconds: float
    """Of CPU time."""
    status: str = "-"


def main(arguments: list[str]) -> int:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks influence")
    parser.add_argument("nets", nargs="*", choices=[*NETS, []], metavar="NET", help=", ".join(NETS))
    parser.add_argument("--subsets", type=int, default=40, help="halves of the examples to retrain on, at least 4")
    given = parser.parse_args(arguments)
    if given.subsets < 4:
        parser.error(f"--subsets is {given.subsets}; give at least 4, for a rank correlation.")
    warnings.filterwarnings("ignore")
    images = load_images()
    print(f"\n{images.told}: {EXAMPLES} of the training images, of 14 x 14, {QUERIES} of the test images as queries")
    print(f"{given.subsets} halves x {len(TRAININGS)} seeds retrained; [95 %] of a bootstrap over queries alone")
    if not PYTHON.exists():
        print("kronfluence is not there: make peers")
    head = ("net", "method", "LDS [95 %]", "CPU s", "status")
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for net in given.nets or NETS:
        task = images.tasks[SETS[net]]
        train, queries = _some(task.train, EXAMPLES), _some(task.test, QUERIES)
        mean = train[0].mean(0)  # without it one direction is far steeper than all others
        problem = Problem(net, (train[0] - mean, train[1]), (queries[0] - mean, queries[1]))
        for row in _rows(problem, given.subsets):
            print(f"| {' | '.join((net, *row))} |", flush=True)
    return 0


def scores(effects: Array, subsets: npt.NDArray[np.int64], found: Array) -> Array:
    """Returns Spearman's correlation of foretold and found losses over subsets, for each query.

    Args:
        effects: The change of each query's loss with each example's weight, [example, query].
        subsets: The numbers of the examples of each subset, as many in all, [subset, example].
        found: The loss of each query after training on each subset, [subset, query].
    """
    foretold = np.stack([effects[some].sum(0) for some in subsets])
    one, other = (np.apply_along_axis(ranks, 0, each) for each in (foretold, found))
    one, other = (each - each.mean(0) for each in (one, other))
    return (one * other).sum(0) / np.sqrt(np.square(one).sum(0) * np.square(other).sum(0))


def interval(values: Array, *, samples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Returns the 95 % interval of the mean of values, by the bootstrap."""
    rng = np.random.default_rng(seed)
    low, high = np.quantile(values[rng.integers(len(values), size=(samples, len(values)))].mean(1), (0.025, 0.975))
    return float(low), float(high)


def _rows(problem: Problem, count: int) -> Iterator[tuple[str, ...]]:
    """Yields what each method reaches on a net."""
    n = len(problem.train[1])
    stream = torch.Generator().manual_seed(0)
    subsets = torch.stack([torch.randperm(n, generator=stream)[: n // 2] for _ in range(count)])
    found, _ = _retrained(problem, subsets, TRAININGS)
    again, seconds = _retrained(problem, subsets, AGAIN)
    stacked = trained(problem, initial(problem, TRAININGS[:1]), torch.arange(n)[None])
    weights = {name: weight[0] for name, weight in stacked.items()}
    yield _row("retrained once more, other seeds", scores_of(again, found), seconds, "-")
    for name, each in _methods(problem, weights):
        yield _row(name, scores(each.effects, subsets.numpy(), found), each.seconds, each.status)


def scores_of(foretold: Array, found: Array) -> Array:
    """Returns Spearman's correlation of losses and losses over subsets, for each query, of [subset, query]."""
    return scores(foretold, np.arange(len(found))[:, None], found)


def _row(method: str, values: Array, seconds: float, status: str) -> tuple[str, ...]:
    low, high = interval(values)
    return method, f"{values.mean():.3f} [{low:.3f}, {high:.3f}]", f"{seconds:.1f}", status


def _retrained(problem: Problem, subsets: Tensor, seeds: tuple[int, ...]) -> tuple[Array, float]:
    """Returns the loss of each query after training on each subset, [subset, query], and the CPU seconds."""
    started = time.process_time()
    weights = trained(problem, initial(problem, seeds * len(subsets)), subsets.repeat_interleave(len(seeds), 0))
    each = losses(problem, weights).unflatten(0, (len(subsets), len(seeds)))
    return each.mean(1).double().numpy(), time.process_time() - started


def _methods(problem: Problem, weights: Weights) -> Iterator[tuple[str, Found]]:
    """Yields the methods: all with a damping of the objective's own weight decay and as much again."""
    decay = problem.module().decay
    for name, settings in CHAINS.items():
        yield f"Bayesian influence, {name}", bayesian(problem, weights, gamma=decay, settings=settings)
    classical = Classical(problem, weights)
    yield "classical, exact Hessian", classical.found(classical.hessian, damping=decay)
    yield "classical, exact Gauss-Newton", classical.found(classical.gauss_newton, damping=decay)
    yield "gradient products", classical.products()
    if PYTHON.exists():
        dampings = {"as the others": 2 * decay, "default": 1e-8, "heuristic": None}
        given = ekfac(problem, weights, tuple(dampings.values()))
        for name, damping in dampings.items():
            yield f"EK-FAC, damping {name}", given[damping]


def bayesian(problem: Problem, weights: Weights, *, gamma: float, settings: ChainSettings) -> Found:
    """Returns minus the covariance of losses over the posterior of the objective, localised at the weights.

    Kreer et al. 2025, arXiv:2509.26544. The chains' own examples bear the weight decay, those that are watched do not.

    Args:
        problem: The net and the examples.
        weights: Where it was trained to.
        gamma: The localisation over n_beta, which is a damping.
        settings: Of the chains.
    """
    started = time.process_time()
    module = problem.module()
    module.load_state_dict(weights)
    n, queries = len(problem.train[1]), len(problem.queries[1])
    watched = [torch.cat(pair) for pair in zip(problem.train, problem.queries, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "watched.pt")
        torch.save((*watched, torch.zeros(n + queries)), path)
        plan = PosteriorPlan(
            components=("all",), n_beta=float(COLD * n), gamma=gamma * COLD * n, settings=settings, watched=n + queries,
            look_every=max(1, settings.draws // 1000), on=str(path),
        )  # fmt: skip
        data = (*problem.train, torch.ones(n))
        at = Snapshot.of(module, data, run="influence/version_0", seed=0, step=1, epoch=0)
        arrays = measure(plan, at).arrays
    assert arrays is not None
    kernel = np.asarray(arrays["kernel"].values, dtype=np.float64)[:n, n:]
    return Found(-kernel, time.process_time() - started, str(arrays["status"].values[0]))


class Classical:
    """The classical influence function ``-g_j' (C + damping)^-1 g_i``, C the curvature of the objective, in float64.

    Args:
        problem: The net and the examples.
        weights: Where it was trained to.
    """

    def __init__(self, problem: Problem, weights: Weights) -> None:
        self.module = problem.module().double()
        self.shapes = {name: weight.shape for name, weight in weights.items()}
        self.point = torch.cat([weight.double().flatten() for weight in weights.values()])
        (x, self.label), (queries, self.asked) = problem.train, problem.queries
        self.x, self.queries = x.double(), queries.double()

    def found(self, curvature: Callable[[], Tensor], *, damping: float) -> Found:
        """Returns the influence by a curvature without weight decay."""
        started = time.process_time()
        own = torch.full((len(self.point),), self.module.decay + damping, dtype=torch.float64)
        solved = torch.linalg.solve(curvature() + own.diag(), self.gradients(self.queries, self.asked).T)
        effects = -(self.gradients(self.x, self.label) @ solved).numpy()
        return Found(effects, time.process_time() - started)

    def products(self) -> Found:
        """Returns the influence by no curvature at all."""
        started = time.process_time()
        effects = -(self.gradients(self.x, self.label) @ self.gradients(self.queries, self.asked).T).numpy()
        return Found(effects, time.process_time() - started)

    def gradients(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns the gradient of the cross-entropy of every example, [example, weight]."""

        def loss(point: Tensor, x: Tensor, label: Tensor) -> Tensor:
            return F.cross_entropy(self._logits(point, x[None]), label[None])

        return vmap(grad(loss), (None, 0, 0), chunk_size=64)(self.point, x, label)

    def hessian(self) -> Tensor:
        """Returns the Hessian of the mean cross-entropy, [weight, weight]."""

        def slope(point: Tensor) -> Tensor:
            return grad(lambda at: F.cross_entropy(self._logits(at, self.x), self.label))(point)

        found = jacrev(slope, chunk_size=64)(self.point)
        return (found + found.T) / 2

    def gauss_newton(self) -> Tensor:
        """Returns ``mean_i J_i' (diag(p_i) - p_i p_i') J_i``, [weight, weight], the Fisher information too."""
        total = torch.zeros(len(self.point), len(self.point), dtype=torch.float64)
        for x in self.x.split(64):
            slopes = vmap(jacrev(lambda at, one: self._logits(at, one[None])[0]), (None, 0))(self.point, x)
            p = self._logits(self.point, x).softmax(-1)
            roots = (p.sqrt()[:, :, None] * (slopes - p[:, None] @ slopes)).flatten(0, 1)
            total += roots.T @ roots
        return total / len(self.x)

    def _logits(self, point: Tensor, x: Tensor) -> Tensor:
        parts = point.split([shape.numel() for shape in self.shapes.values()])
        weights = {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        return functional_call(self.module, weights, (x,))


def ekfac(problem: Problem, weights: Weights, dampings: tuple[float | None, ...]) -> Mapping[float | None, Found]:
    """Returns kronfluence's influence by EK-FAC at each damping, from an environment of its own.

    Grosse et al. 2023, arXiv:2308.03296.

    Raises:
        RuntimeError: If it dies; with the last lines that it printed.
    """
    given: dict[str, Any] = {
        "net": problem.net,
        "state": weights,
        "train": problem.train,
        "queries": problem.queries,
        "dampings": dampings,
    }
    with tempfile.TemporaryDirectory() as folder:
        path, scores = (str(Path(folder, name)) for name in ("problem.pt", "scores.pt"))
        torch.save(given, path)
        ran = subprocess.run(
            [str(PYTHON), "-m", "benchmarks.peers.kronfluence_1", path, scores],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode:
            raise RuntimeError(f"kronfluence died:\n{ran.stderr[-2000:]}")
        told = torch.load(scores)
    return {at: Found(-each["scores"].double().numpy().T, each["seconds"]) for at, each in told.items()}


def _some(images: ImageSet, n: int) -> tuple[Tensor, Tensor]:
    """Returns images at random, [example, 1, 14, 14] with brightness from 0 to 1, and their labels."""
    numbers = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(0))[:n]
    return avg_pool2d(images.images[numbers, None].float() / 255, 2), images.labels[numbers]
