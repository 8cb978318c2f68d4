"""In-context regression: ridge regression is what it says, and nothing is better."""

import math

import pytest
import torch

from llc_lightning.data.sequences.regression import LinearRegression
from llc_lightning.runtime.errors import SettingError


def test_sequences_hold_pairs_and_ask_for_y_at_x() -> None:
    inputs, targets = LinearRegression(dimensions=3, pairs=4).sample(5, torch.Generator().manual_seed(0))
    assert (inputs.shape, targets.shape) == ((5, 8, 4), (5, 8))
    assert bool((inputs[:, ::2, 0] == 0).all())
    assert bool((inputs[:, 1::2, 1:] == 0).all())
    assert torch.equal(targets[:, ::2], inputs[:, 1::2, 0])
    assert bool(targets[:, 1::2].isnan().all())


def test_ridge_is_the_posterior_mean_of_each_prefix() -> None:
    task = LinearRegression()
    inputs, _ = task.sample(6, torch.Generator().manual_seed(0))
    found = task.ridge(inputs)
    for row in range(6):
        x, y = inputs[row, ::2, 1:].double(), inputs[row, 1::2, 0].double()
        for k in range(8):
            gram = x[:k].T @ x[:k] + 0.125 * torch.eye(2, dtype=torch.float64)
            expected = x[k] @ torch.linalg.inv(gram) @ x[:k].T @ y[:k]
            assert found[row, k].item() == pytest.approx(expected.item(), abs=1e-5)


def test_no_other_penalty_does_better_and_the_first_answer_is_0() -> None:
    task = LinearRegression()
    inputs, targets = task.sample(20_000, torch.Generator().manual_seed(0))
    answers = targets[:, ::2]
    losses = {
        penalty: (LinearRegression(noise_variance=penalty).ridge(inputs) - answers).square().mean().item()
        for penalty in (0.03, 0.125, 0.5)
    }
    assert min(losses, key=losses.__getitem__) == 0.125
    assert bool((task.ridge(inputs)[:, 0] == 0).all())
    baselines = task.baselines(0)
    assert baselines["zero"] == 2.125 == pytest.approx(answers.square().mean().item(), rel=0.02)
    assert baselines["ridge"] == pytest.approx(losses[0.125], rel=0.03)


def test_metrics_compare_with_ridge() -> None:
    task = LinearRegression()
    batch = task.sample(50, torch.Generator().manual_seed(0))
    outputs = torch.zeros(50, 16, 1)
    outputs[:, ::2, 0] = task.ridge(batch[0])
    metrics = task.metrics(outputs, batch)
    assert float(metrics["distance_from_ridge"].max()) == 0.0
    assert torch.equal(metrics["last"], metrics["ridge_last"])
    assert torch.allclose(metrics["ridge"], (outputs[:, ::2, 0] - batch[1][:, ::2]).square().mean(1))


@pytest.mark.parametrize("variance", [0.0, math.nan, math.inf])
def test_refuses_settings(variance: float) -> None:
    with pytest.raises(SettingError, match="noise_variance is"):
        LinearRegression(noise_variance=variance)
    with pytest.raises(SettingError, match="pairs is 0"):
        LinearRegression(pairs=0)
