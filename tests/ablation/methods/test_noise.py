"""Gaussian noise."""

import pytest
import torch
from scipy import stats

from llc_lightning.ablation.engine.base import Activations
from llc_lightning.ablation.methods.noise import Noise
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.seeding import generator


def test_noise_has_the_scale_of_each_unit_s_own_spread() -> None:
    reference = torch.randn(20_000, 3, generator=generator(1)) * torch.tensor([0.5, 1.0, 20.0]) + 3
    (values,) = Noise(scale=2.0, draws=3).values(Activations(reference), [torch.arange(20_000)], seed=0)
    added = (values - reference) / (2 * reference.std(0, correction=0))
    for draw in added:
        for unit in draw.T:
            assert stats.kstest(unit.double().numpy(), "norm").pvalue > 1e-3
    correlation = torch.corrcoef(added.permute(0, 2, 1).flatten(0, 1)) - torch.eye(9)
    assert correlation.abs().max() < 5 / 20_000**0.5


def test_the_numbers_follow_from_seed_and_draw_alone() -> None:
    reference = torch.randn(64, 5)
    blocks = [torch.arange(32), torch.arange(32, 64)]
    values = list(Noise(draws=2).values(Activations(reference), blocks, seed=4))
    spread = reference.double().std(0, correction=0).float()
    for draw in range(2):
        stream = generator(4, "gaussian", draw)
        for rows, value in zip(blocks, values, strict=True):
            expected = reference[rows] + torch.randn(32, 5, generator=stream) * spread
            torch.testing.assert_close(value[draw], expected)


def test_a_constant_unit_stays() -> None:
    reference = torch.full((64, 2), 0.1)
    (values,) = Noise(scale=100.0).values(Activations(reference), [torch.arange(64)], seed=0)
    assert torch.equal(values, reference.expand(4, 64, 2))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_allowed(scale: float) -> None:
    with pytest.raises(SettingError) as error:
        Noise(scale=scale)
    assert str(error.value) == f"the scale of the noise is {scale}; give a positive number of standard deviations."
