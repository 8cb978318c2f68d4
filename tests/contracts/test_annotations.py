"""While tests run, annotations are promises that are kept: types and shapes are checked at every call."""

import pytest
import torch
from jaxtyping import TypeCheckError

from llc_lightning.runtime.errors import nearest
from llc_lightning.sampling.base import per_lane


def test_a_wrong_type_does_not_get_into_the_package() -> None:
    with pytest.raises(TypeCheckError, match="name"):
        nearest(3, ["zero", "mean"])  # type: ignore[arg-type]


def test_nor_does_a_wrong_shape() -> None:
    with pytest.raises(TypeCheckError, match="lane"):
        per_lane(torch.ones(2, 2), torch.ones(1, 2, 3))
