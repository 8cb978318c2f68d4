"""Examples in blocks of one size."""

import pytest
import torch

from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.runtime.errors import DataError, SettingError


@pytest.mark.parametrize(
    ("n", "size", "count"), [(1, 4, 1), (5, 8, 1), (64, 64, 1), (65, 128, 1), (256, 256, 1), (257, 256, 2)]
)
def test_the_size_follows_from_the_number_of_examples(n: int, size: int, count: int) -> None:
    blocks = Blocks.of(torch.arange(n))
    assert (blocks.n, blocks.size, len(blocks)) == (n, size, count)
    assert (blocks.size * blocks.together) % 64 == 0


def test_every_example_is_there_once_and_the_rest_is_filling() -> None:
    data = {"x": torch.arange(300), "y": torch.arange(300) * 2}
    blocks = Blocks.of(data)
    seen = [blocks.batches[block]["x"][blocks.real(block)] for block in range(len(blocks))]
    assert torch.cat(seen).tolist() == list(range(300))
    last = blocks.batches[1]
    assert isinstance(last, dict)
    assert last["y"].tolist() == [2 * min(i, 299) for i in range(256, 512)]
    assert torch.cat(blocks.rows).tolist() == [min(i, 299) for i in range(512)]


def test_a_size_of_one_s_own() -> None:
    assert [len(Blocks.of(torch.arange(20), size).rows) for size in (1, 8, 32)] == [20, 3, 1]
    for size in (0, -4, 48):
        with pytest.raises(SettingError) as error:
            Blocks.of(torch.arange(20), size)
        assert str(error.value) == f"the block size is {size}; give a power of two, such as 64 or 256."


def test_no_example() -> None:
    with pytest.raises(DataError, match=r"^the data has 0 examples; give at least 1\.$"):
        Blocks.of(torch.zeros(0, 3))
