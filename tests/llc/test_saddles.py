"""Estimates at points whose gradient is 0 though they are no minima."""

import math

import torch
from torch import Tensor

from llc_lightning.llc.estimator import estimate_llc


def test_a_saddle_is_not_a_minimum() -> None:
    def double_well(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        return 0.25 * (params["w"].square() - 1).square().sum() + 0 * batch

    record = estimate_llc(
        double_well, {"w": torch.zeros(1)}, torch.zeros(1), n_beta=1000.0, gamma=1.0, draws=100, burn_in=100, chains=4
    )
    assert record.value < -200
    assert math.isnan(record.correction)
    assert record.status == "not-a-minimum"


def test_a_saddle_among_many_steep_directions_is_not_a_minimum() -> None:
    def saddle(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        x, y = params["w"][:40], params["w"][40]
        return x.square().sum() / 2 - y.square() / 2 + y**4 / 4 + 0 * batch

    record = estimate_llc(saddle, {"w": torch.zeros(41)}, torch.zeros(1), n_beta=20.0, gamma=0.1, draws=500)
    assert record.value > 10
    assert record.status == "not-a-minimum"
