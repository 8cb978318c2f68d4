"""Losses whose posteriors are known exactly, as functions of parameters and a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llc_lightning.runtime.types import LossFn, Params

ONE_EXAMPLE = torch.zeros(1)
CURVATURE = (*[1.0] * 5, *[0.1] * 5, *[0.01] * 5, *[0.0] * 5)


@dataclass(frozen=True)
class Known:
    """A loss, the weights that it is measured at, and the examples."""

    loss: LossFn
    params: Params
    data: Tensor = ONE_EXAMPLE


def quadratic(curvature: tuple[float, ...] = CURVATURE) -> Known:
    """``1/2 sum_i h_i w_i^2``, the same for every example."""
    h = torch.tensor(curvature)

    def loss(params: Params, batch: Tensor) -> Tensor:
        return (h * params["w"].square()).sum() / 2 + 0 * batch

    return Known(loss, {"w": torch.zeros(len(h))})


def noisy_quadratic(spread: float, curvature: tuple[float, ...] = CURVATURE, n: int = 256) -> Known:
    """``1/2 sum_i h_i w_i^2 + c . w``, c of each example: plus or minus ``spread``, averaging to 0 over them."""
    h = torch.tensor(curvature)
    orders = [torch.randperm(n, generator=torch.Generator().manual_seed(i)) for i in range(len(h))]
    c = spread * torch.stack([1.0 - 2.0 * (order % 2) for order in orders], dim=1)

    def loss(params: Params, batch: Tensor) -> Tensor:
        return (h * params["w"].square()).sum() / 2 + batch @ params["w"]

    return Known(loss, {"w": torch.zeros(len(h))}, c)


def rotated_quadratic(
    dimension: int, rank: int, *, displaced_by: float = 0.0, seed: int = 0
) -> tuple[Known, Tensor, Tensor]:
    """``1/2 (w - mu)^T H (w - mu)`` with a dense H of a given rank; returns it with H and mu."""
    draws = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(dimension, dimension, generator=draws, dtype=torch.float64)).Q[:, :rank]
    hessian = basis @ torch.diag(0.5 + torch.rand(rank, generator=draws, dtype=torch.float64)) @ basis.T
    mu = displaced_by * torch.randn(dimension, generator=draws, dtype=torch.float64)
    h, m = hessian.float(), mu.float()

    def loss(params: Params, batch: Tensor) -> Tensor:
        away = params["w"] - m
        return away @ h @ away / 2 + 0 * batch

    return Known(loss, {"w": torch.zeros(dimension)}), hessian, mu


def quartic() -> Known:
    """``w^4``, one weight."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        return params["w"].square().square().sum() + 0 * batch

    return Known(loss, {"w": torch.zeros(1)})


def crossing() -> Known:
    """``(w_1 w_2)^2``."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        return (params["w"][0] * params["w"][1]).square() + 0 * batch

    return Known(loss, {"w": torch.zeros(2)})


def reduced_rank() -> Known:
    """``1/2 |B A|^2`` with ``A`` and ``B`` 2 by 2, in one tensor."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        first, second = params["w"]
        return (second @ first).square().sum() / 2 + 0 * batch

    return Known(loss, {"w": torch.zeros(2, 2, 2)})
