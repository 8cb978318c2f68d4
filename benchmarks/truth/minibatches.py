"""Quadratics whose examples differ, in minibatches: rare and heavy-tailed, in the gradient and in the curvature.

The exact value is that of the mean over all examples, which is a quadratic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.truth.case import Case, quadratic_sum
from benchmarks.truth.quadratics import SUM

if TYPE_CHECKING:
    from llc_lightning.runtime.batches import LossFn, Params

EXAMPLES, GROUP = 4096, "minibatches"
MANY = 16384
"""More than are looked at one by one."""


def cases() -> Iterator[Case]:
    """Yields the quadratics of minibatches."""
    yield additive("noise: Gaussian of 0.3", _student(inf, 5, 0) * 0.3, batch_size=16)
    yield additive("noise: Gaussian of 2", _student(inf, 5, 1) * 2, batch_size=16)
    yield additive("noise: Student 2.2", _student(2.2, 5, 2) * 0.5, batch_size=16)
    yield additive("noise: Student 3", _student(3.0, 20, 3), batch_size=8)
    yield additive("noise: 2 of 4096 of 60", _rare(2, 60.0, 5), batch_size=32)
    yield additive("noise: 8 of 4096 of 10", _rare(8, 10.0, 10), batch_size=8)
    yield additive("noise: 2 of 4096 of 3", _rare(2, 3.0, 5), batch_size=16)
    yield additive("noise: 8 of 16384 of 60", _rare(8, 60.0, 5, MANY), batch_size=16)
    yield additive("noise: 64 of 16384 of 20", _rare(64, 20.0, 5, MANY), batch_size=16)
    yield additive("noise: 160 of 16384 of 10", _rare(160, 10.0, 5, MANY), batch_size=16)
    yield curved("curvature: 16 of 16384 of 300", _more(16, 300.0, MANY), batch_size=16)
    yield curved("curvature: uniform", torch.linspace(0, 2, EXAMPLES), batch_size=8)
    yield curved("curvature: Pareto 1.1", _pareto(1.1, 4), batch_size=8)
    yield curved("curvature: Pareto 1.5", _pareto(1.5, 5), batch_size=16)
    yield curved("curvature: Pareto 3", _pareto(3.0, 6), batch_size=32)
    yield curved("curvature: 2 of 4096 of 1000", _more(2, 1e3, EXAMPLES), batch_size=16)
    yield curved(
        "curvature: 1 % of 1, else 0", torch.zeros(EXAMPLES).index_fill(0, torch.arange(41), 1.0), batch_size=8
    )
    yield regression("covariates: Gaussian", _student(inf, 5, 7), 0.1, batch_size=16)
    yield regression("covariates: Student 2.2", _student(2.2, 5, 8), 0.0, batch_size=8)
    yield regression("covariates: Student 3", _student(3.0, 10, 9), 0.1, batch_size=16)
    yield regression("covariates: Student 2.5, noisy", _student(2.5, 5, 10), 1.0, batch_size=32)


def additive(name: str, slopes: Tensor, *, batch_size: int) -> Case:
    """``1/2 |w|^2 + s_i . w``, the slopes averaging to 0."""
    slopes = slopes - slopes.mean(0)

    def loss(params: Params, batch: Tensor) -> Tensor:
        return params["w"].square().sum() / 2 + batch @ params["w"]

    return _case(name, loss, torch.zeros(slopes.shape[1]), slopes, [1.0] * slopes.shape[1], batch_size)


def curved(name: str, curvatures: Tensor, *, batch_size: int) -> Case:
    """``1/2 c_i |w|^2`` in 5 weights."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        return batch * params["w"].square().sum() / 2

    return _case(name, loss, torch.zeros(5), curvatures, [curvatures.double().mean().item()] * 5, batch_size)


def regression(name: str, covariates: Tensor, noise: float, *, batch_size: int) -> Case:
    """``1/2 (x_i . w - y_i)^2`` at the least squares, for targets of weights of 1 with noise."""
    targets = covariates.sum(1) + noise * torch.randn(EXAMPLES, generator=torch.Generator().manual_seed(11))
    hessian = covariates.double().T @ covariates.double() / EXAMPLES
    start = torch.linalg.solve(hessian, covariates.double().T @ targets.double() / EXAMPLES).float()

    def loss(params: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (batch[0] @ params["w"] - batch[1]).square() / 2

    return _case(name, loss, start, (covariates, targets), torch.linalg.eigvalsh(hessian).tolist(), batch_size)


def _case(
    name: str,
    loss: LossFn,
    start: Tensor,
    data: Tensor | tuple[Tensor, ...],
    curvature: Sequence[float],
    batch_size: int,
) -> Case:
    at = {"n_beta": 100.0, "gamma": 1.0}
    return Case(
        name=f"{name}, batch {batch_size}", group=GROUP, loss=loss, params={"w": start}, data=data, known=SUM,
        value=partial(quadratic_sum, curvature, **at), settings={"batch_size": batch_size}, **at,
    )  # fmt: skip


def _student(freedom: float, columns: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    normal = torch.randn(EXAMPLES, columns, generator=draws)
    if freedom == inf:
        return normal
    from scipy.stats import chi2

    shares = torch.rand(EXAMPLES, columns, generator=draws, dtype=torch.float64)
    return normal * (freedom / torch.from_numpy(chi2.ppf(shares.numpy(), freedom))).sqrt().float()


def _pareto(tail: float, seed: int) -> Tensor:
    drawn = (1 - torch.rand(EXAMPLES, generator=torch.Generator().manual_seed(seed))) ** (-1 / tail)
    return drawn / drawn.mean()


def _more(number: int, size: float, examples: int) -> Tensor:
    return torch.ones(examples).index_fill(0, torch.arange(number), size)


def _rare(number: int, size: float, columns: int, examples: int = EXAMPLES) -> Tensor:
    slopes = torch.zeros(examples, columns)
    slopes[:number] = size * torch.tensor([1.0, -1.0]).repeat(number // 2)[:, None]
    return slopes
