"""Orders and loaders: pure in (seed, epoch), shared by ranks, exact after a resume, without the global generators."""

import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from llc_lightning.data.order import EpochLoader, EpochOrder, OrderKind, Pool
from llc_lightning.runtime.errors import DataError, SettingError


def order(
    n_items: int = 12, *, kind: str = "shuffled", seed: int = 0, rank: int = 0, world_size: int = 1
) -> EpochOrder:
    return EpochOrder(n_items, kind=kind, seed=seed, rank=rank, world_size=world_size)


def loader(n_items: int = 12, *, per_batch: int = 2, rank: int = 0, world_size: int = 1) -> EpochLoader:
    pool = Pool((torch.arange(n_items), torch.arange(n_items) * 10))
    return EpochLoader(pool, order(n_items, rank=rank, world_size=world_size), items_per_batch=per_batch)


def seen(source: EpochLoader, epoch: int) -> list[list[int]]:
    source.sampler.set_epoch(epoch)
    return [x.tolist() for x, _ in source]


def flat(lists: list[list[int]]) -> list[int]:
    return [number for one in lists for number in one]


class TestEpochOrder:
    @pytest.mark.parametrize("kind", ["shuffled", "fresh", "fixed"])
    def test_is_a_pure_function_of_seed_and_epoch(self, kind: OrderKind) -> None:
        used = order(kind=kind)
        for epoch in (4, 2, 0):
            list(used)
            used.set_epoch(epoch)
        used.set_epoch(3)
        assert list(used) == list(used) == order(kind=kind).numbers(3).tolist()

    def test_shuffled_permutes_differently_in_each_epoch_and_for_each_seed(self) -> None:
        orders = [tuple(order(seed=seed).numbers(epoch).tolist()) for seed in (0, 1) for epoch in (0, 1)]
        assert len(set(orders)) == 4
        assert all(sorted(one) == list(range(12)) for one in orders)

    def test_fixed_keeps_the_order_and_fresh_never_repeats(self) -> None:
        assert order(kind="fixed").numbers(5).tolist() == list(range(12))
        assert order(kind="fresh").numbers(5).tolist() == list(range(60, 72))

    @pytest.mark.parametrize("kind", ["shuffled", "fresh", "fixed"])
    def test_ranks_are_disjoint_and_together_complete(self, kind: OrderKind) -> None:
        one, two = (order(kind=kind, rank=rank, world_size=2).numbers(1).tolist() for rank in (0, 1))
        assert len(one) == len(two) == 6
        assert sorted(one + two) == sorted(order(kind=kind).numbers(1).tolist())

    def test_ranks_take_equally_many_and_drop_the_rest(self) -> None:
        parts = [order(11, rank=rank, world_size=3).numbers(0).tolist() for rank in range(3)]
        assert [len(part) for part in parts] == [3, 3, 3]
        assert len({number for part in parts for number in part}) == 9

    def test_lightning_keeps_it_in_a_data_loader(self) -> None:
        # Lightning replaces the sampler of a distributed DataLoader unless it is one of these.
        sampler = order(rank=1, world_size=2)
        assert isinstance(sampler, torch.utils.data.DistributedSampler)
        batches = DataLoader(torch.arange(12), batch_size=3, sampler=sampler)
        assert [batch.tolist() for batch in batches] == sampler.numbers(0).view(2, 3).tolist()

    def test_draws_nothing_from_the_global_generator(self) -> None:
        before = torch.get_rng_state()
        list(order())
        assert torch.equal(before, torch.get_rng_state())

    def test_refuses_what_cannot_be(self) -> None:
        with pytest.raises(SettingError, match="rank 2 is not one of 2"):
            order(rank=2, world_size=2)
        with pytest.raises(DataError, match="1 items are too few for 2 ranks"):
            order(1, world_size=2)


class TestEpochLoader:
    def test_yields_whole_batches_of_every_tensor_in_order(self) -> None:
        batches = list(loader(5, per_batch=2))
        assert [len(x) for x, _ in batches] == [2, 2, 1]
        assert len(loader(5, per_batch=2)) == 3
        assert torch.cat([x for x, _ in batches]).tolist() == order(5).numbers(0).tolist()
        assert all(torch.equal(x * 10, y) for x, y in batches)

    def test_two_ranks_see_disjoint_examples_and_all_of_them(self) -> None:
        one, two = (seen(loader(rank=rank, world_size=2), 3) for rank in (0, 1))
        assert len(one) == len(two) == 3
        assert sorted(flat(one + two)) == list(range(12))

    def test_the_epoch_may_be_set_after_iter(self) -> None:
        source = loader()
        batches = iter(source)
        source.sampler.set_epoch(7)
        assert next(batches)[0].tolist() == order().numbers(7)[:2].tolist()

    @pytest.mark.parametrize("taken", [0, 1, 5, 6])
    def test_continues_in_the_middle_of_an_epoch(self, taken: int) -> None:
        first, other = loader(), loader()
        first.sampler.set_epoch(3)
        batches = iter(first)
        for _ in range(taken):
            next(batches)
        state = pickle.loads(pickle.dumps(first.state_dict()))  # noqa: S301
        other.load_state_dict(state)
        assert other.state_dict() == state
        assert seen(other, 3) == seen(loader(), 3)[taken:]
        assert seen(other, 4) == seen(loader(), 4)
        assert seen(other, 3) == seen(loader(), 3)

    def test_a_position_of_another_epoch_skips_nothing(self) -> None:
        source = loader()
        source.load_state_dict({"epoch": 3, "items": 12})
        assert seen(source, 4) == seen(loader(), 4)

    def test_a_position_holds_for_another_number_of_ranks(self) -> None:
        alone = loader()
        alone.load_state_dict({"epoch": 0, "items": 8})
        pair = [loader(rank=rank, world_size=2) for rank in (0, 1)]
        for source in pair:
            source.load_state_dict({"epoch": 0, "items": 8})
        assert sorted(flat(seen(pair[0], 0) + seen(pair[1], 0))) == sorted(flat(seen(alone, 0)))

    def test_a_position_inside_a_batch_is_refused(self) -> None:
        with pytest.raises(DataError, match="after 6 items of its epoch, which is no multiple of the 4"):
            loader(rank=0, world_size=2).load_state_dict({"epoch": 0, "items": 6})

    def test_refuses_an_empty_batch_and_unequal_tensors(self) -> None:
        with pytest.raises(SettingError, match="items_per_batch is 0"):
            loader(per_batch=0)
        with pytest.raises(DataError):
            Pool((torch.zeros(3), torch.zeros(4)))
