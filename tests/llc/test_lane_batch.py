"""What a batch of lanes knows around w* before its chains run."""

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from llc_lightning.llc.estimator import estimate_llc

N = 4096


def correction(examples: int | Literal["auto"]) -> float:
    noise = torch.randn(N, generator=torch.Generator().manual_seed(4)) * 60
    curvature = noise - noise.mean() + 1  # 1 on average; that of 200 examples is often below 0

    def loss(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        return 50 * params["stiff"].square().sum() + 0.5 * batch * params["soft"].square().sum()

    record = estimate_llc(
        loss,
        {"stiff": torch.full((1,), 0.01), "soft": torch.full((1,), 0.1)},
        curvature, n_beta=10.0, gamma=0.1, step_size=0.01, chains=2, draws=4,
        burn_in=0, curvature_examples=examples,
    )  # fmt: skip
    return record.correction


def test_an_indefinite_hessian_on_few_examples_is_looked_at_on_more() -> None:
    few = 2 * 4 * N // 400
    assert math.isnan(correction(few))
    assert correction("auto") == correction(8 * few) > 0


def test_the_curvature_is_that_of_examples_drawn_at_random() -> None:
    """Data may be sorted: here the flat examples come first."""
    steep = torch.arange(2048).ge(1024).float() * 2

    def loss(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        return batch * params["w"].square().sum() / 2

    settings = {"n_beta": 100.0, "gamma": 1.0, "draws": 20, "burn_in": 0, "curvature_examples": 2048}
    record = estimate_llc(loss, {"w": torch.zeros(4)}, steep, **settings)
    assert record.curvature == pytest.approx(1.0, rel=0.2)  # 4 errors of the mean of 512 examples
