"""While tests run, annotations are promises that are kept: types and shapes are checked at every call."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from llc_lightning.llc.draws import error_of
from llc_lightning.runtime.errors import nearest


def test_a_wrong_type_does_not_get_into_the_package() -> None:
    with pytest.raises(TypeCheckError, match="name"):
        nearest(3, ["zero", "mean"])  # type: ignore[arg-type]


def test_nor_does_a_wrong_shape() -> None:
    with pytest.raises(TypeCheckError, match="draws"):
        error_of(np.zeros(3))
