"""What one set of draws knows, where the truth is known: exact moments, tasks in the loss kernel, wrong labels.

python -m benchmarks posterior                 all five tables
python -m benchmarks posterior exact --seeds 10
python -m benchmarks posterior intervals       of chains run anew 200 times, whatever --seeds says
python -m benchmarks posterior cost            what watching examples adds to the chains of an LLC
python -m benchmarks posterior tasks labels    real images by LLC_LIGHTNING_DATA, else drawn ones
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import cpu_seconds, ratio
from benchmarks.trained import trained
from llc_lightning.analysis.kernel import clustering, self_influence
from llc_lightning.data.cis import CISData
from llc_lightning.data.images import MNISTFashionData
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import Outcome, measure
from llc_lightning.measure.posterior.plan import PosteriorPlan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.models.cis import CISModel
from llc_lightning.models.image import ImageModel
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.ranking import auroc

TABLES = ("exact", "intervals", "cost", "tasks", "labels")
N_BETA, GAMMA = 100.0, 10.0
LOOK_EVERY = 5
"""Draws between looks where moments are compared: neighbouring draws tell nearly the same."""
REPEATS = 200
T_90 = 1.895
"""Half of a 90 % interval in errors of 8 chains."""


def main(arguments: list[str]) -> int:
    """Prints the tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks posterior")
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    by_name = {"exact": exact, "intervals": intervals, "cost": cost, "tasks": tasks, "labels": labels}
    for name in given.tables or TABLES:
        title, head, rows = by_name[name](range(given.seeds))
        print(f"\n## {title}\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)
    return 0


Table = tuple[str, tuple[str, ...], Iterator[tuple[str, ...]]]


def exact(seeds: range) -> Table:
    """Returns moments of least squares in two components against their closed form."""

    def rows() -> Iterator[tuple[str, ...]]:
        for seed in seeds:
            yield str(seed), *_moments(seed)

    head = ("seed", "kernel, correlation", "slope", "susceptibility of one", "of two")
    told = (
        f"Least squares, 64 examples, 6 weights, 8 chains x 2,000 looks, one at {LOOK_EVERY} draws, and the closed form"
    )
    return told, head, rows()


def intervals(_: range) -> Table:
    """Returns how often intervals of single entries hold what the closed form says, with chains run anew."""

    def rows() -> Iterator[tuple[str, ...]]:
        wanted, snapshot = _least_squares(0)
        held = {name: np.zeros(np.shape(value)) for name, value in wanted.items()}
        for repeat in range(REPEATS):
            arrays = _measured(replace(snapshot, seed=repeat), look_every=1)
            for name, value in wanted.items():
                far = np.abs(np.asarray(arrays[name].values, dtype=np.float64) - value)
                held[name] += far < T_90 * np.asarray(arrays[f"{name}_stderr"].values)
        for name, often in held.items():
            entries = often[np.triu_indices(len(often))] if name == "kernel" else often
            share = entries.ravel() / REPEATS
            low, high = np.quantile(share, (0.05, 0.95))
            yield name, str(share.size), f"{100 * share.mean():.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"

    head = ("entries of", "how many", "90 % intervals hold", "nine in ten entries")
    return f"The same, 8 chains x 2,000 looks, one at each draw, {REPEATS} times", head, rows()


def cost(_: range) -> Table:
    """Returns what watching 256 examples adds to the estimates of a net and of 32 of its neurons, in CPU time."""

    def rows() -> Iterator[tuple[str, ...]]:
        snapshot, units = _pair(), tuple(f"a[{unit}]" for unit in range(32))
        for batch, size in {"all 1,024, as by default": None, "minibatches of 64": 64}.items():
            settings = replace(_COST.settings, batch_size=size)
            llc = LLCPlan(components=("all", *units), n_beta=(_COST.n_beta,), gamma=_COST.gamma, settings=settings)
            watched = replace(_COST, components=units, settings=settings)
            plans = {"by default": watched, "every": replace(watched, look_every=1)}
            runs = {name: partial(measure, plan, snapshot) for name, plan in {"llc": llc, **plans}.items()}
            seconds = cpu_seconds(runs, rounds=3)
            for name, plan in plans.items():
                arrays = measure(plan, snapshot).arrays
                assert arrays is not None
                looks, added = -(-plan.settings.draws // plan.every), ratio(seconds, name, "llc") - 1
                alone = median(seconds["llc"])
                yield batch, name, str(looks), f"{alone:.2f}", f"{added:.0%}", f"{arrays.nbytes / 1e6:.2f}"

    title = "256 watched examples of a net (100-40-100) and 32 neurons, 4 chains x (100 + 200)"
    return title, ("examples of a step", "looks", "of each chain", "LLC alone, CPU s", "added", "arrays, MB"), rows()


def tasks(seeds: range) -> Table:
    """Returns how well the loss kernel knows the tasks of examples."""

    def rows() -> Iterator[tuple[str, ...]]:
        for seed in seeds:
            net, data = trained(
                CISModel(task="xor", size=32, active=1.0, width=32, loss_power=4.0, learning_rate=3e-3),
                CISData(task="xor", size=32, active=1.0),
                seed,
                max_steps=3000,
            )
            yield "cis, 32 circuits", str(seed), *_of_tasks(net, data, seed, n_beta=10000.0, gamma=100.0, watched=1024)
        for seed in seeds:
            net, data = trained(
                ImageModel(layout="mix20", width=64, depth=2, learning_rate=0.004),
                MNISTFashionData(layout="mix20", batch_size=128),
                seed,
                max_epochs=3,
            )
            yield (
                "mnist_fashion, 2 sets",
                str(seed),
                *_of_tasks(net, data, seed, n_beta=3000.0, gamma=300.0, watched=256),
            )

    head = ("net", "seed", "different examples with one task", "adjusted Rand index", "shuffled", "same neighbour",
            "by chance", "within a task", "between", "status")  # fmt: skip
    return "Tasks in the loss kernel", head, rows()


def labels(seeds: range) -> Table:
    """Returns how well wrong labels are found in a net that has learnt them by heart."""

    def rows() -> Iterator[tuple[str, ...]]:
        for seed in seeds:
            net, data, wrong = _mislabelled(seed)
            plan = PosteriorPlan(
                components=("all",),
                n_beta=2000.0,
                gamma=100.0,
                watched=len(wrong),
                settings=ChainSettings(chains=8, draws=200, burn_in=200, batch_size=128),
            )
            arrays = measure(plan, Snapshot.of(net, data, run="labels/version_0", seed=seed, step=1, epoch=0)).arrays
            assert arrays is not None
            loss = np.asarray(arrays["loss"].values)
            scores = (self_influence(arrays)[0], arrays["gain"].values[0], loss)
            yield (
                str(seed),
                *(f"{auroc(score, wrong.tolist()):.3f}" for score in scores),
                f"{loss.mean():.3f}",
                str(arrays["status"].values[0]),
            )

    head = ("seed", "self-influence", "loss gain", "plain loss", "training loss", "status")
    return "AUROC of wrong labels: 2,000 digits of which 10 % are relabelled, 784-32-10 net, 3,000 steps", head, rows()


_COST = PosteriorPlan(
    components=("a",), n_beta=300.0, gamma=100.0, watched=256,
    settings=ChainSettings(chains=4, burn_in=100, draws=200),
)  # fmt: skip


class _Pair(nn.Module):
    """Two linear maps with a bend between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(100, 40), nn.Linear(40, 100)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return (self.b(self.a(x).relu()) - y).square().mean(-1)


def _pair() -> Snapshot:
    torch.manual_seed(0)
    return Snapshot.of(
        _Pair(), (torch.randn(1024, 100), torch.randn(1024, 100)), run="pair/version_0", seed=0, step=1, epoch=0
    )


class _Squares(nn.Module):
    """Least squares in two components of three weights each."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.one, self.two = (nn.Linear(3, 1, bias=False, dtype=torch.float64) for _ in range(2))
        with torch.no_grad():
            self.one.weight.copy_(w[None, :3])
            self.two.weight.copy_(w[None, 3:])

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return 0.5 * ((self.one(x[:, :3]) + self.two(x[:, 3:]))[:, 0] - y).square()


Moments = dict[str, np.ndarray]


def _least_squares(seed: int) -> tuple[Moments, Snapshot]:
    """Returns the kernel and both susceptibilities as the closed form has them, and the net at its minimum."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(64, 6))
    y = x @ rng.normal(size=6) + 0.3 * rng.normal(size=64)
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    data = (torch.tensor(x), torch.tensor(y))
    at = Snapshot.of(_Squares(torch.tensor(w)), data, run="squares/version_0", seed=seed, step=1, epoch=0)
    residual = x @ w - y
    covariances = [_covariance(x[:, columns], residual) for columns in (slice(None), slice(0, 3), slice(3, 6))]
    response = np.stack([each.mean() - each.mean(0) for each in covariances])
    return {"kernel": covariances[0], "susceptibility": response}, at


def _measured(snapshot: Snapshot, *, look_every: int) -> Any:
    """Returns what 2,000 looks of 8 chains say."""
    plan = PosteriorPlan(
        components=("one", "two"),
        n_beta=N_BETA,
        gamma=GAMMA,
        watched=64,
        look_every=look_every,
        settings=ChainSettings(chains=8, draws=2000 * look_every, burn_in=200),
    )
    arrays = measure(plan, snapshot).arrays
    assert arrays is not None
    return arrays


def _moments(seed: int) -> Iterator[str]:
    wanted, snapshot = _least_squares(seed)
    arrays = _measured(snapshot, look_every=LOOK_EVERY)
    found = {name: np.asarray(arrays[name].values, dtype=np.float64) for name in wanted}
    yield f"{_related(found['kernel'], wanted['kernel']):.4f}"
    yield f"{np.polyfit(wanted['kernel'].ravel(), found['kernel'].ravel(), 1)[0]:.3f}"
    for component in (1, 2):
        yield f"{_related(found['susceptibility'][component], wanted['susceptibility'][component]):.3f}"


def _covariance(x: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Returns the covariance of two losses over the posterior, [example, example]."""
    k = x @ np.linalg.inv(N_BETA * x.T @ x / len(x) + GAMMA * np.eye(x.shape[1])) @ x.T
    return np.outer(residual, residual) * k + k**2 / 2


def _related(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _of_tasks(
    net: L.LightningModule, data: Batch, seed: int, *, n_beta: float, gamma: float, watched: int
) -> Iterator[str]:
    chains = ChainSettings(chains=8, draws=500, burn_in=200, batch_size=256)
    plan = PosteriorPlan(components=("all",), n_beta=n_beta, gamma=gamma, watched=watched, settings=chains)
    outcome: Outcome = measure(plan, Snapshot.of(net, data, run="tasks/version_0", seed=seed, step=1, epoch=0))
    assert outcome.arrays is not None
    found = clustering(outcome.arrays)
    yield str(found.compared)
    yield f"{found.agreement:.3f}"
    yield f"{found.shuffled:.3f}"
    yield f"{found.neighbours:.0%}"
    yield f"{found.neighbours_shuffled:.0%}"
    yield from _within(outcome, found.labels)
    yield str(outcome.arrays["status"].values[0])


def _within(outcome: Outcome, labels: np.ndarray) -> Iterator[str]:
    """Yields the mean correlation of two examples of one task, and of two tasks."""
    from llc_lightning.analysis.kernel import correlation

    assert outcome.arrays is not None
    related = correlation(np.asarray(outcome.arrays["kernel"].values, dtype=np.float64))
    known = (labels >= 0) & ~np.triu(related > 0.9999, 1).any(0)  # no copies
    related = related[np.ix_(known, known)]
    alike = labels[known][:, None] == labels[known]
    others = ~np.eye(int(known.sum()), dtype=bool)
    yield f"{related[alike & others].mean():+.3f}"
    yield f"{related[~alike].mean():+.3f}"


class _Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1], reduction="none")


def _mislabelled(seed: int) -> tuple[_Digits, tuple[Tensor, Tensor], np.ndarray]:
    """Returns a net that has learnt wrong labels, its examples, and which of these are wrong."""
    source = MNISTFashionData(layout="mix20", batch_size=128)
    source.prepare_data()
    source.setup("fit")
    images, both = source.analysis_set()
    digits = both[:, 0] >= 0
    x, y = images[digits][:2000].flatten(1).float(), both[digits][:2000, 0]
    stream = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(y), generator=stream) < 0.1
    y = torch.where(wrong, (y + 1 + torch.randint(9, y.shape, generator=stream)) % 10, y)
    torch.manual_seed(seed)
    net = _Digits()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(3000):
        some = torch.randint(len(y), (128,))
        optimizer.zero_grad()
        net.per_example_loss((x[some], y[some])).mean().backward()
        optimizer.step()
    return net, (x, y), wrong.numpy()
