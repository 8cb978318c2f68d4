"""The datamodule: batches as functions of the seed, shared by ranks, and the analysis set."""

import types

import pytest
import torch

from llc_lightning.data.cis import CISData
from llc_lightning.runtime.errors import DataError, SettingError


def batches(data: CISData, epoch: int = 0) -> list[torch.Tensor]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [torch.cat((x, y), dim=1) for x, y in loader]


def on_rank(rank: int, world_size: int, **settings: int) -> CISData:
    data = CISData(**settings)
    data.trainer = types.SimpleNamespace(global_rank=rank, world_size=world_size)
    return data


SMALL = {"batch_size": 8, "batches_per_epoch": 6, "analysis_size": 64, "validation_size": 2048}


def test_training_batches_are_a_function_of_seed_and_epoch() -> None:
    first, again = batches(CISData(**SMALL), 1), batches(CISData(**SMALL), 1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    everything = batches(CISData(**SMALL), 0) + first + batches(CISData(**SMALL, seed=1), 0)
    assert all(not torch.equal(a, b) for i, a in enumerate(everything) for b in everything[:i])
    assert first[0].shape == (8, 96)


def test_two_ranks_take_turns_over_the_batches_of_one() -> None:
    alone = batches(CISData(**SMALL), 2)
    pair = [batches(on_rank(rank, 2, **SMALL), 2) for rank in (0, 1)]
    assert len(pair[0]) == len(pair[1]) == 3
    assert all(torch.equal(alone[i], pair[i % 2][i // 2]) for i in range(6))


def test_validation_is_the_same_in_every_epoch_and_shared_by_ranks() -> None:
    loader = CISData(**SMALL).val_dataloader()
    first = [x for x, _ in loader]
    loader.sampler.set_epoch(1)
    assert len(first) == 2
    assert all(torch.equal(a, b) for a, (b, _) in zip(first, loader, strict=True))
    (second,) = [x for x, _ in on_rank(1, 2, **SMALL).val_dataloader()]
    assert torch.equal(first[1], second)
    assert not torch.equal(first[0][:8], batches(CISData(**SMALL))[0][:, :64])
    assert CISData(**SMALL | {"validation_size": 0}).val_dataloader() == []


def test_the_analysis_set_is_large_small_to_store_and_a_function_of_the_seed() -> None:
    x, y = CISData().analysis_set()
    assert (x.shape, y.shape, x.dtype) == ((131_072, 64), (131_072, 32), torch.int8)
    data = CISData(**SMALL)
    whole, part = data.analysis_set(), data.analysis_set(16)
    assert len(part[0]) == 16
    assert all(torch.equal(a[:16], b) for a, b in zip(whole, part, strict=True))
    assert not torch.equal(whole[0], CISData(**SMALL, seed=1).analysis_set()[0])
    for wrong in (0, 65):
        with pytest.raises(DataError, match="analysis set of 64"):
            data.analysis_set(wrong)


def test_nothing_is_drawn_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    data = CISData(**SMALL)
    batches(data)
    data.analysis_set()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"batches_per_epoch": -1}, {"analysis_size": 0}, {"validation_size": 1000}]
)
def test_refuses_numbers_out_of_range(settings: dict[str, int]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        CISData(**settings)
