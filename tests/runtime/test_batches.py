"""Counting, taking, moving and walking examples."""

import pytest
import torch

from llc_lightning.runtime.batches import chunks, for_params, n_examples, take, to_device
from llc_lightning.runtime.errors import DataError, SettingError


@pytest.mark.parametrize(
    "data", [torch.zeros(3, 2), (torch.zeros(3), torch.zeros(3, 5)), {"x": torch.zeros(3), "y": torch.zeros(3, 1)}]
)
def test_counts_the_examples_of_every_container(data: object) -> None:
    assert n_examples(data) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            (torch.zeros(3), torch.zeros(4)),
            "the data's tensors disagree on the number of examples: entry 0 has 3, entry 1 has 4; give equal leading "
            "sizes.",
        ),
        (
            {"x": torch.zeros(3), "y": torch.tensor(1.0)},
            "the data's entry 'y' is a scalar; every tensor needs a leading example axis.",
        ),
        (torch.zeros(0, 2), "the data has 0 examples; give at least 1."),
        (
            (),
            "the data is empty; give a tensor, a tuple or list of tensors, or a dict of tensors with at least one "
            "example.",
        ),
        (
            {torch.zeros(3)},
            "the data is of type set; give a tensor, a tuple or list of tensors, or a dict of tensors, each with a "
            "leading example axis.",
        ),
        (
            (torch.zeros(3), 5),
            "the data's entry 1 is of type int; give a tensor, a tuple or list of tensors, or a dict of tensors.",
        ),
    ],
)
def test_refuses_data_without_one_example_axis(data: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        n_examples(data)
    assert str(caught.value) == message


def test_takes_by_index_and_by_slice_in_the_same_container() -> None:
    x, y = torch.arange(6).reshape(3, 2), torch.tensor([10, 20, 30])
    taken = take({"x": x, "y": y}, torch.tensor([2, 0, 2]))
    assert isinstance(taken, dict)
    assert taken["x"].tolist() == [[4, 5], [0, 1], [4, 5]]
    assert taken["y"].tolist() == [30, 10, 30]
    part = take((x, y), slice(1, 2))
    assert isinstance(part, tuple)
    assert [tensor.tolist() for tensor in part] == [[[2, 3]], [20]]


def test_moves_every_tensor() -> None:
    moved = to_device((torch.zeros(2), torch.ones(2)), "meta")
    assert isinstance(moved, tuple)
    assert {tensor.device.type for tensor in moved} == {"meta"}


def test_chunks_cover_everything_once_in_order() -> None:
    covered = [i for part in chunks(7, 3) for i in range(7)[part]]
    assert covered == list(range(7))
    assert list(chunks(0, 3)) == []


def test_chunk_size_must_be_positive() -> None:
    with pytest.raises(SettingError) as caught:
        chunks(7, 0)
    assert str(caught.value) == "the chunk size is 0; give an integer of at least 1."


def test_examples_take_the_device_and_precision_of_the_weights() -> None:
    data = torch.ones(2, 3), torch.ones(2, dtype=torch.int64)
    half = for_params(data, {"w": torch.ones(1, dtype=torch.bfloat16), "i": torch.ones(1, dtype=torch.int64)})
    assert [one.dtype for one in half] == [torch.bfloat16, torch.int64]
    mixed = {"a": torch.ones(1), "b": torch.ones(1, dtype=torch.float64)}
    for params in ({}, {"w": torch.ones(1)}, mixed):
        assert all(one is other for one, other in zip(for_params(data, params), data, strict=True))
