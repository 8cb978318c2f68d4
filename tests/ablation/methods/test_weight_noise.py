"""Noisy weights."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.ablation.methods.weight_noise import WeightNoise
from llc_lightning.components.component import WeightSlice
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.seeding import generator


def noise(values: Tensor, scale: float = 0.1, *, seed: int = 0, draw: int = 0) -> Tensor:
    weight = Weight(WeightSlice("w"), values, values, None)
    (edited,) = WeightNoise(scale=scale, draws=3).edited([weight], seed=seed, draw=draw)
    return edited - values


def test_the_noise_is_a_share_of_the_root_mean_square() -> None:
    values = 5 + torch.randn(200, 200)
    spread = float(values.square().mean().sqrt())
    assert float(noise(values, 0.3).std()) == pytest.approx(0.3 * spread, rel=0.02)
    assert abs(float(noise(values, 0.3).mean())) < 0.005 * spread
    torch.testing.assert_close(noise(10 * values), 10 * noise(values), rtol=1e-4, atol=1e-4)


def test_the_same_numbers_serve_all_of_one_form() -> None:
    some, others = torch.ones(3, 4), torch.full((3, 4), 2.0)
    torch.testing.assert_close(2 * noise(some), noise(others))
    assert not torch.allclose(noise(some), noise(some, seed=1))
    assert not torch.allclose(noise(some), noise(some, draw=1))


class Sum(nn.Module):
    """Its loss is linear in its weight: an effect is the noise times the input."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1, bias=False)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.line(batch)[:, 0]


@pytest.mark.parametrize("draws", [1, 4])
def test_an_effect_is_the_mean_over_draws(draws: int) -> None:
    module, batch = Sum(), torch.randn(90, 3)
    table = ablation_effects(module, batch, "line", f"weight_noise(scale=0.5,draws={draws})", seed=3)
    xi = torch.stack([torch.randn(1, 3, generator=generator(3, "weight-noise", draw)) for draw in range(draws)])
    expected = 0.5 * module.line.weight.detach().square().mean().sqrt() * (xi.mean(0) @ batch.T)[0]
    assert table["value"].iloc[0] == pytest.approx(float(expected.mean()), abs=1e-6)
    assert table["stderr"].iloc[0] == pytest.approx(float(expected.std()) / 90**0.5, abs=1e-6)
    assert table["draws"].iloc[0] == draws


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(SettingError, match="give a positive number of root mean squares of the weights"):
        WeightNoise(scale=scale)
