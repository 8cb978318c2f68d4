"""While tests run, annotations are promises that are kept: types and shapes are checked at every call."""

import pytest
import torch
from jaxtyping import TypeCheckError

from llc_lightning.runtime.errors import nearest
from llc_lightning.sampling.base import per_lane
from llc_lightning.sampling.observables.gradient_check import differ


def test_a_wrong_type_does_not_get_into_the_package() -> None:
    with pytest.raises(TypeCheckError, match="name"):
        nearest(3, ["zero", "mean"])


def test_nor_does_a_wrong_shape() -> None:
    with pytest.raises(TypeCheckError, match="lane"):
        per_lane(torch.ones(2, 2), torch.ones(1, 2, 3))


def test_nor_do_two_shapes_that_should_be_one() -> None:
    with pytest.raises(TypeCheckError, match="look"):
        differ(torch.ones(4, 5), torch.ones(4, 1), share=0.25, errors=4.0)  # torch would repeat the one look


def test_nor_does_one_that_comes_after_many_right_ones() -> None:
    for _ in range(50):
        per_lane(torch.ones(2), torch.ones(1, 2, 2))
    for _ in range(2):
        with pytest.raises(TypeCheckError, match="lane"):
            per_lane(torch.ones(2, 2), torch.ones(1, 2, 2))
