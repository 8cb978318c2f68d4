"""The learning rate over training."""

from math import cos, pi

import pytest
import torch

from llc_lightning.models.optimizer import OptimizerSettings, adamw


@pytest.mark.parametrize("given", [None, 5])
def test_the_learning_rate_falls_along_half_a_cosine_and_stays_at_0(given: int | None) -> None:
    settings = OptimizerSettings(0.2, total_steps=given)
    found = adamw([torch.nn.Parameter(torch.zeros(2))], settings, steps=5 if given is None else 8)
    assert isinstance(found, dict)
    optimizer, scheduler = found["optimizer"], found["lr_scheduler"]["scheduler"]
    rates: list[float] = []
    for _ in range(6 if given is None else 9):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = [0.1 * (1 + cos(pi * step / 5)) for step in range(5)]
    assert rates == pytest.approx(expected + [0.0] * (len(rates) - 5), abs=1e-9)


def test_a_training_resumed_for_more_steps_follows_the_longer_cosine() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2))]
    states = []
    for steps in (5, 10):
        found = adamw(weights, OptimizerSettings(0.2), steps=steps)
        assert isinstance(found, dict)
        optimizer, scheduler = found["optimizer"], found["lr_scheduler"]["scheduler"]
        for part, state in zip((optimizer, scheduler), states, strict=False):
            part.load_state_dict(state)
        for _ in range(4):
            optimizer.step()
            scheduler.step()
        states = [optimizer.state_dict(), scheduler.state_dict()]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * (1 + cos(pi * 8 / 10)))
