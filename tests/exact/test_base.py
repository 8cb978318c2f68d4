"""The learning coefficient of regular models."""

from fractions import Fraction

import pytest

from llc_lightning.exact import LearningCoefficient, regular_coefficient
from llc_lightning.runtime.errors import SettingError


def test_a_regular_model_has_half_its_dimension() -> None:
    assert regular_coefficient(7) == LearningCoefficient(Fraction(7, 2), 1, 7)


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^dimension is 0; give an integer of at least 1\.$"):
        regular_coefficient(0)
