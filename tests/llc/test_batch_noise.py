"""The sums that the noise of minibatches is told by."""

import pytest
import torch

from llc_lightning.llc.batch_noise import _add


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 3])
def test_rows_are_added_with_their_squares(rows: int, dtype: torch.dtype) -> None:
    stream = torch.Generator().manual_seed(0)
    new = torch.randn(rows, 4, 2, 5, generator=stream, dtype=dtype)
    sums, squares = torch.randn(2, 4, 2, 5, generator=stream, dtype=torch.float64)
    expected = sums + new.sum(0), squares + new.square().sum(0)
    _add(new, sums, squares)
    assert torch.equal(sums, expected[0])
    assert torch.equal(squares, expected[1])
