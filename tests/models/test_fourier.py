"""How few frequencies an embedding consists of."""

import math

import pytest
import torch

from llc_lightning.models.fourier import frequency_shares, strongest_share


@pytest.mark.parametrize("n", [53, 54])
def test_waves_have_the_shares_of_their_squared_amplitudes(n: int) -> None:
    turn = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    # Twice the variance for a wave that has both its cosine and its sine.
    waves = torch.stack((2 * (3 * turn).cos(), (7 * turn).cos(), (7 * turn).sin(), torch.full((n,), 9.0)), dim=1)
    shares = frequency_shares(waves)
    assert len(shares) == n // 2
    assert shares[2].item() == pytest.approx(4 / 6)
    assert shares[6].item() == pytest.approx(2 / 6)
    assert shares.sum().item() == pytest.approx(1)
    assert strongest_share(waves) == pytest.approx(1)


def test_the_frequency_of_opposite_signs_counts_once() -> None:
    n = 8
    turn = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    shares = frequency_shares(torch.stack(((4 * turn).cos(), 2**0.5 * turn.cos()), dim=1))
    assert shares[[0, 3]].tolist() == pytest.approx([0.5, 0.5])


def test_noise_is_spread_over_all_frequencies() -> None:
    noise = torch.randn(53, 400, generator=torch.Generator().manual_seed(0))
    assert strongest_share(noise) == pytest.approx(5 / 26, abs=0.03)
