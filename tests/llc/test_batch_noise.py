"""The variance that the noise of minibatches is told by, beside the literal one."""

import pytest
import torch

from llc_lightning.llc.batch_noise import Spread
from llc_lightning.sampling.stacked import Stack

CHAINS = 3


def literal(vectors: Stack, factor: Stack, count: int) -> torch.Tensor:
    """Returns the variance of every weight over the vectors of each chain, times its factor, summed."""
    chains = [torch.arange(count) % CHAINS == chain for chain in range(CHAINS)]
    each: list[torch.Tensor] = []
    for chain, mine in enumerate(chains):
        parts: list[torch.Tensor] = []
        for name, value in vectors.items():
            own = factor[name] if len(factor[name]) == 1 else factor[name][chain : chain + 1]
            parts.append(((value[:count][mine] * own).double().var(0, correction=0)).flatten(1).sum(1))
        each.append(torch.stack(parts).sum(0))
    return torch.stack(each)


@pytest.mark.parametrize("rows", [CHAINS, 4 * CHAINS])
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_that_of_every_weight_summed(rows: int, alike: bool, dtype: torch.dtype) -> None:
    stream = torch.Generator().manual_seed(0)
    shapes, count = {"a": (2, 5), "b": (2, 3, 4), "long": (2, 5000)}, 20
    vectors = {name: 3 + torch.randn(24, *shape, generator=stream, dtype=dtype) for name, shape in shapes.items()}
    factor = {
        name: torch.rand(1 if alike else CHAINS, *shape, generator=stream, dtype=dtype)
        for name, shape in shapes.items()
    }
    spread = Spread(factor, CHAINS)
    for start in range(0, count, rows):
        spread.add({name: value[start : start + rows].clone() for name, value in vectors.items()}, count - start)
    found = spread.variance(torch.bincount(torch.arange(count) % CHAINS))
    torch.testing.assert_close(found, literal(vectors, factor, count), rtol=1e-5, atol=0)


def test_vectors_that_are_the_same_have_none_however_long_they_are() -> None:
    row = 1e6 * torch.rand(CHAINS, 1, 7, generator=torch.Generator().manual_seed(0))
    spread = Spread({"a": torch.ones(1, 1, 7)}, CHAINS)
    for _ in range(5):
        spread.add({"a": row.clone()}, CHAINS)
    assert torch.equal(spread.variance(torch.full((CHAINS,), 5)), torch.zeros(CHAINS, 1, dtype=torch.float64))
