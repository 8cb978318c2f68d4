"""Quadratics at random angles: slow directions, flat directions, and losses of sums of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from benchmarks.truth.case import Case, of_weights, quadratic_sum, rotation
from benchmarks.truth.integrals import on_a_line

SUM = "1/2 sum n_beta h / (n_beta h + gamma)"

SLOW: dict[str, tuple[Sequence[float], float, float]] = {
    "2: 1, 3e-4": ((1.0, 3e-4), 1e4, 1.0),
    "2: 1, 1e-3": ((1.0, 1e-3), 1e4, 1.0),
    "2: 1, 1e-2": ((1.0, 1e-2), 1e4, 1.0),
    "2: 1, 1e-5": ((1.0, 1e-5), 1e5, 1.0),
    "3: 1, 1e-2, 1e-4": ((1.0, 1e-2, 1e-4), 1e4, 1.0),
    "3: 1, 1, 1e-3": ((1.0, 1.0, 1e-3), 1e4, 10.0),
    "10: one of 1e-4": ((*[1.0] * 9, 1e-4), 1e4, 1.0),
    "10: half 1e-3": ((*[1.0] * 5, *[1e-3] * 5), 1e4, 1.0),
    "10: nine of 3e-3": ((1.0, *[3e-3] * 9), 1e4, 1.0),
    "10: 10 to 1e-3": (tuple(10.0 ** (1 - 4 * i / 9) for i in range(10)), 1e3, 1.0),
    "50: half 1e-3": ((*[1.0] * 25, *[1e-3] * 25), 1e4, 1.0),
    "50: k^-2": (tuple((1.0 + k) ** -2 for k in range(50)), 1e4, 1.0),
    "50: a tenth 1e-4": ((*[1.0] * 45, *[1e-4] * 5), 1e5, 1.0),
    "200: k^-1": (tuple((1.0 + k) ** -1 for k in range(200)), 1e3, 1.0),
    "200: k^-2": (tuple((1.0 + k) ** -2 for k in range(200)), 1e5, 1.0),
    "200: a fifth 1e-3": ((*[1.0] * 160, *[1e-3] * 40), 1e4, 1.0),
}
"""By dimension and curvatures: the curvatures, n_beta and gamma."""

FLAT: dict[str, tuple[int, int, float, float]] = {
    "4 of rank 2": (4, 2, 100.0, 1.0),
    "10 of rank 5": (10, 5, 1000.0, 1.0),
    "20 of rank 7": (20, 7, 100.0, 10.0),
    "40 of rank 13": (40, 13, 1000.0, 1.0),
    "50 of rank 10": (50, 10, 1e4, 1.0),
    "100 of rank 30": (100, 30, 1000.0, 10.0),
    "100 of rank 3": (100, 3, 100.0, 1.0),
}
"""Dimension, rank, n_beta and gamma."""


def cases() -> Iterator[Case]:
    """Yields the quadratics."""
    for seed, (name, (curvature, n_beta, gamma)) in enumerate(SLOW.items()):
        yield at_angles(f"slow in {name}", "slow directions", curvature, n_beta=n_beta, gamma=gamma, seed=seed)
    for seed, (name, (dimension, rank, n_beta, gamma)) in enumerate(FLAT.items()):
        curved = 0.5 + torch.rand(rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        curvature = (*curved.tolist(), *[0.0] * (dimension - rank))
        yield at_angles(name, "rank-deficient", curvature, n_beta=n_beta, gamma=gamma, seed=100 + seed)
    yield from _sums()


def at_angles(name: str, group: str, curvature: Sequence[float], *, n_beta: float, gamma: float, seed: int) -> Case:
    """Returns the quadratic with these curvatures along random directions."""
    basis = rotation(len(curvature), seed)
    exact_hessian = basis @ torch.tensor(curvature, dtype=torch.float64).diag() @ basis.T
    hessian = exact_hessian.float()

    def again() -> float:
        scaled = n_beta * exact_hessian
        return torch.linalg.solve(scaled + gamma * torch.eye(len(scaled)).double(), scaled).trace().item() / 2

    return Case(
        name=name, group=group, loss=of_weights(lambda w: w @ hessian.to(w) @ w / 2),
        params={"w": torch.zeros(len(curvature))}, n_beta=n_beta, gamma=gamma, known=SUM, again=again,
        value=partial(quadratic_sum, curvature, n_beta=n_beta, gamma=gamma),
    )  # fmt: skip


def _sums() -> Iterator[Case]:
    for dimension, n_beta in ((2, 1e3), (3, 100.0), (10, 1e3), (25, 100.0), (100, 100.0)):
        yield _sum(f"(w1 + .. + w{dimension})^2 / 2, n_beta {n_beta:g}", torch.ones(1, dimension), n_beta=n_beta)
    yield _sum("(w1 - w2)^2 / 2", torch.tensor([[1.0, -1.0]]), n_beta=100.0)
    yield _sum("(w1 + w2)^2 / 2 + (w3 + w4)^2 / 2", torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]), n_beta=100.0)
    yield _sum("(w1 + .. + w8)^2 / 2 + (w1 - w2 + .. - w8)^2 / 200",
               torch.stack([torch.ones(8), torch.tensor([0.1, -0.1] * 4)]), n_beta=1000.0)  # fmt: skip
    yield Case(
        name="(w1 + .. + w10)^4", group="sums", loss=of_weights(lambda w: w.sum() ** 4),
        params={"w": torch.zeros(10)}, n_beta=100.0, gamma=1.0, known="1-d quadrature along the sum",
        value=partial(on_a_line, lambda r: 100 * r**4, n_beta=100.0, gamma=1.0),
    )  # fmt: skip


def _sum(name: str, rows: torch.Tensor, *, n_beta: float) -> Case:
    curvature = torch.linalg.svdvals(rows.double()).square().tolist()
    return Case(
        name=name, group="sums", loss=of_weights(lambda w: (rows.to(w) @ w).square().sum() / 2),
        params={"w": torch.zeros(rows.shape[1])}, n_beta=n_beta, gamma=1.0, known=SUM,
        value=partial(quadratic_sum, curvature, n_beta=n_beta, gamma=1.0),
    )  # fmt: skip
