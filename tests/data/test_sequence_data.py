"""The datamodule of the transformers' tasks: the order of the data, its shards, and what is measured on."""

import pytest
import torch

from llc_lightning.data.order import EpochLoader, EpochOrder
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.induction import Induction
from llc_lightning.runtime.errors import DataError, SettingError

TASK = Induction(tokens=9, positions=8, shortest=2, longest=4)


def batches(loader: EpochLoader, epoch: int = 0, rank: int = 0, world_size: int = 1) -> list[torch.Tensor]:
    order = loader.sampler
    sampler = EpochOrder(order.n_items, kind=order.kind, seed=order.seed, rank=rank, world_size=world_size)
    sampler.set_epoch(epoch)
    return [batch[0] for batch in EpochLoader(loader.source, sampler, items_per_batch=loader.items_per_batch)]


def test_batches_follow_from_seed_and_epoch_and_never_come_twice() -> None:
    data = SequenceData(TASK, batch_size=4, batches_per_epoch=3)
    loader = data.train_dataloader()
    before = torch.get_rng_state()
    first, again, second = batches(loader), batches(loader), batches(loader, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert len({tuple(batch.flatten().tolist()) for batch in first + second}) == 6
    other = batches(SequenceData(TASK, batch_size=4, batches_per_epoch=3, seed=1).train_dataloader())
    assert not torch.equal(first[0], other[0])


def test_two_ranks_take_the_batches_of_one_in_turns() -> None:
    loader = SequenceData(TASK, batch_size=4, batches_per_epoch=4).train_dataloader()
    alone, shards = batches(loader), [batches(loader, rank=rank, world_size=2) for rank in range(2)]
    together = [batch for pair in zip(*shards, strict=True) for batch in pair]
    assert all(torch.equal(one, two) for one, two in zip(alone, together, strict=True))


def test_validation_and_analysis_differ_from_training_and_stay() -> None:
    data = SequenceData(TASK, batch_size=256, batches_per_epoch=2, validation_size=512, analysis_size=300)
    validation = data.val_dataloader()
    assert isinstance(validation, EpochLoader)
    seen = batches(validation)
    assert [len(batch) for batch in seen] == [256, 256]
    assert all(torch.equal(one, two) for one, two in zip(seen, batches(validation, 3), strict=True))
    assert not torch.equal(seen[0], batches(data.train_dataloader())[0])
    inputs, targets = data.analysis_set()
    assert inputs.shape == targets.shape == (300, 8)
    assert torch.equal(data.analysis_set(7)[0], inputs[:7])
    assert SequenceData(TASK, validation_size=0).val_dataloader() == []


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"batches_per_epoch": 0}, {"analysis_size": 0}])
def test_refuses_counts_below_1(settings: dict[str, int]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(settings))} is 0; give an integer of at least 1"):
        SequenceData(TASK, **settings)


def test_refuses_sizes_out_of_range() -> None:
    with pytest.raises(SettingError, match="validation_size is 100; give a multiple of 256, or 0"):
        SequenceData(TASK, validation_size=100)
    with pytest.raises(DataError, match="21 examples were asked of an analysis set of 20"):
        SequenceData(TASK, analysis_size=20).analysis_set(21)
