"""Crossings of 1 to 4 factors: alone, at angles, and beside regular weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.truth.case import Case, of_weights, quadratic_sum, turned
from benchmarks.truth.integrals import of_powers, of_rays, on_a_line
from llc_lightning.exact import normal_crossing_value

SEVERAL: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...] = (
    ((1, 1), (1e3, 1e4, 1e5)),
    ((1, 1, 1), (1e2, 1e3, 1e4)),
    ((1, 1, 1, 1), (1e2, 1e4)),
    ((1, 3), (1e2, 1e4)),
    ((1, 2, 1), (1e3,)),
    ((2, 2), (1e4,)),
    ((1, 1, 2, 2), (1e3,)),
)
"""Powers k of ``prod w_i^(2 k_i)``, and values of n_beta."""


def cases() -> Iterator[Case]:
    """Yields the crossings."""
    for powers, n_betas in SEVERAL:
        for n_beta in n_betas:
            yield crossing(powers, n_beta, "crossings")
    yield crossing((1, 1), 1e3, "crossings", seed=1)
    yield crossing((1, 1, 1), 1e3, "crossings", seed=2)
    yield crossing((1, 1), 1e3, "crossings", regular=10)
    yield crossing((1, 1), 1e4, "crossings", regular=20, seed=3)
    yield _lines()


def crossing(powers: Sequence[int], n_beta: float, group: str, *, regular: int = 0, seed: int | None = None) -> Case:
    """Returns the crossing with these powers, beside regular weights, in coordinates at angles if there is a seed."""
    number, at = len(powers), {"n_beta": n_beta, "gamma": 1.0}

    def product(w: Tensor) -> Tensor:
        inside = torch.stack([w[i] ** power for i, power in enumerate(powers)]).prod(0).square()
        return inside + w[number:].square().sum() / 2 if regular else inside

    name = "(" + " ".join(f"w{i + 1}" + (f"^{k}" if k > 1 else "") for i, k in enumerate(powers)) + ")^2"
    name += (f" + {regular} regular" if regular else "") + (" at angles" if seed is not None else "")
    beside = quadratic_sum([1.0] * regular, **at)
    twice = [2 * power for power in powers]
    return Case(
        name=f"{name}, n_beta {n_beta:g}", group=group,
        loss=of_weights(product if seed is None else turned(product, number + regular, seed)),
        params={"w": torch.zeros(number + regular)}, known="Mellin transform",
        value=lambda: normal_crossing_value(powers, **at) + beside,
        again=lambda: (of_powers(twice, **at) if number > 1 else on_a_line(lambda r: r ** twice[0], **at)) + beside,
        **at,
    )  # fmt: skip


def _lines() -> Case:
    at = {"n_beta": 1e3, "gamma": 1.0}

    def lines(x: Tensor, y: Tensor) -> Tensor:
        return (x * y * (x + y)) ** 2

    return Case(
        name="(w1 w2 (w1 + w2))^2, n_beta 1000", group="crossings", loss=of_weights(lambda w: lines(w[0], w[1])),
        params={"w": torch.zeros(2)}, known="polar quadrature", value=partial(of_rays, lines, 6, **at),
        again=partial(of_rays, lines, 6, points=6001, **at), **at,
    )  # fmt: skip
