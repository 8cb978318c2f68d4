"""Modular addition: every pair is in one split, and its answer is right."""

from typing import Any

import pytest
import torch

from llc_lightning.data.order import EpochLoader, EpochOrder
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.base import NO_TARGET
from llc_lightning.data.sequences.modular import ModularAddition
from llc_lightning.runtime.errors import SettingError


def test_the_splits_partition_the_pairs_as_the_seed_says() -> None:
    task = ModularAddition(modulus=7, train_share=0.4)
    train, validation = task.pool("train", 0), task.pool("validation", 0)
    pairs = [tuple(row[:2]) for split in (train, validation) for row in split[0].tolist()]
    assert sorted(pairs) == [(a, b) for a in range(7) for b in range(7)]
    assert (len(train[0]), len(validation[0])) == (20, 29)
    assert torch.equal(train[0], task.pool("train", 0)[0])
    assert not torch.equal(train[0], task.pool("train", 1)[0])


def test_the_sum_is_asked_for_at_the_end() -> None:
    task = ModularAddition(modulus=7)
    inputs, targets = task.sample(100, torch.Generator().manual_seed(0))
    assert bool((inputs[:, 2] == 7).all())
    assert bool((targets[:, :2] == NO_TARGET).all())
    assert torch.equal(targets[:, 2], (inputs[:, 0] + inputs[:, 1]) % 7)
    labels = task.labels((inputs, targets))
    assert [*labels] == ["first", "second", "answer"]
    assert torch.equal(labels["answer"], (labels["first"] + labels["second"]) % 7)
    assert torch.equal(labels["first"], inputs[:, 0])


def test_two_shards_see_each_training_pair_once() -> None:
    data = SequenceData(ModularAddition(modulus=8), batch_size=5)
    loader = data.train_dataloader()
    seen: list[tuple[int, ...]] = []
    for rank in range(2):
        order = EpochOrder(loader.sampler.n_items, kind="shuffled", seed=0, rank=rank, world_size=2)
        order.set_epoch(3)
        seen += [
            tuple(row) for batch in EpochLoader(loader.source, order, items_per_batch=5) for row in batch[0].tolist()
        ]
    assert sorted(seen) == sorted(map(tuple, data.analysis_set()[0].tolist()))
    assert len(set(seen)) == 32


@pytest.mark.parametrize("settings", [{"modulus": 1}, {"train_share": 0.0}, {"train_share": 1.0}])
def test_refuses_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        ModularAddition(**settings)
