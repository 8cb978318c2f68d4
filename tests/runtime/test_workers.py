"""Sharing and agreeing in a single process; two real processes are in tests/distributed/test_workers.py."""

from dataclasses import dataclass

import pytest
import torch

from llc_lightning.runtime.errors import DataError, MeasurementError, SettingError
from llc_lightning.runtime.signals import ElsewhereError
from llc_lightning.runtime.workers import Workers, packed, unpacked


@dataclass
class Launched:
    """What a Trainer or a Fabric tells."""

    global_rank: int
    world_size: int


def test_a_single_process_does_everything_without_a_process_group() -> None:
    workers = Workers.of(Launched(0, 1))
    assert workers == Workers.of(None) == Workers(0, 1)
    assert workers.is_zero
    assert workers.share([1, 2, 3]) == [1, 2, 3]
    assert workers.gather("a") == ["a"]
    assert workers.collect([1, 2, 3]) == [1, 2, 3]
    workers.agree(None)
    workers.barrier()
    assert not torch.distributed.is_initialized()


def test_shares_are_stretches_that_differ_by_at_most_one() -> None:
    assert [Workers(rank, 3).share(range(8)) for rank in range(3)] == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert [Workers(rank, 3).share([7]) for rank in range(3)] == [[], [], [7]]


def test_collect_puts_the_shares_together_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [Workers(rank, 3).share(range(8)) for rank in range(3)]
    monkeypatch.setattr(Workers, "agree", lambda self, error: None)
    monkeypatch.setattr(Workers, "bring", lambda self, mine: [packed(list(share)) for share in shares[1:]])
    assert Workers(0, 3).collect(shares[0]) == list(range(8))
    assert Workers(1, 3).collect(shares[1]) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.complex64])
def test_tensors_come_back_as_they_were(dtype: torch.dtype) -> None:
    given = [torch.arange(6).view(2, 3).to(dtype), torch.ones((), dtype=dtype), torch.ones(0, 3, dtype=dtype)]
    given.append(given[0].T)
    for one, other in zip(given, unpacked(packed(given)), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)


def test_of_a_tensor_its_own_bytes_are_sent_once() -> None:
    everything = torch.arange(4000.0).view(4, 1000)
    one = everything[1]
    assert 4000 < len(packed({"excess": one})) < 4400
    assert len(packed([one, one.clone(), everything[1:2].view(-1)])) < 4500


def test_a_foreign_error_is_named_and_kept_as_the_cause() -> None:
    cause = FloatingPointError("chain 3 diverged")
    with pytest.raises(MeasurementError) as caught:
        Workers().agree(cause)
    assert str(caught.value) == "FloatingPointError: chain 3 diverged"
    assert caught.value.__cause__ is cause


def test_an_error_of_ours_speaks_for_itself() -> None:
    with pytest.raises(MeasurementError) as caught:
        Workers().agree(DataError("the data has 0 examples; give at least 1."))
    assert str(caught.value) == "the data has 0 examples; give at least 1."


def refuse() -> int:
    raise DataError("the data has 0 examples; give at least 1.")


def test_what_is_done_jointly_comes_back_or_fails_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Workers().jointly(lambda: 3) == 3
    with pytest.raises(MeasurementError, match=r"^the data has 0 examples") as caught:
        Workers().jointly(refuse)
    assert isinstance(caught.value.__cause__, DataError)
    monkeypatch.setattr(Workers, "meet", lambda self, failed: None)
    monkeypatch.setattr(Workers, "gather", lambda self, obj: [obj, "OSError: gone"])
    with pytest.raises(MeasurementError, match=r"^rank 1: OSError: gone$"):
        Workers(0, 2).jointly(lambda: 3)


def test_rank_zero_alone_does_what_is_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Workers().on_zero(lambda: 3) == 3
    with pytest.raises(MeasurementError, match=r"^the data has 0 examples"):
        Workers().on_zero(refuse)
    monkeypatch.setattr(Workers, "meet", lambda self, failed: None)
    monkeypatch.setattr(Workers, "gather", lambda self, obj: [None, obj])
    assert Workers(1, 2).on_zero(refuse) is None


def test_several_processes_need_a_process_group() -> None:
    with pytest.raises(SettingError) as caught:
        Workers.of(Launched(1, 2))
    assert str(caught.value) == (
        "there are 2 processes but torch.distributed is not initialized; use a strategy such as 'ddp', and call "
        "launch() first on a Fabric."
    )


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0)])
def test_impossible_ranks_are_refused(rank: int, world_size: int) -> None:
    with pytest.raises(SettingError) as caught:
        Workers(rank, world_size)
    assert str(caught.value) == (
        f"got rank {rank} of {world_size} processes; ranks go from 0 to the number of processes - 1."
    )


def test_nobody_goes_on_without_a_result_where_only_a_failure_elsewhere_is_known() -> None:
    def told_of_a_failure() -> None:
        raise ElsewhereError

    with pytest.raises(MeasurementError, match="it was told of a failure that no rank tells"):
        Workers().jointly(told_of_a_failure)
