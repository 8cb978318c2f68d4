"""Numbers that a user gives: what is refused, and in which words."""

import math

import pytest

from llc_lightning.runtime.checks import at_least, not_negative, positive, unless_none
from llc_lightning.runtime.errors import SettingError


@pytest.mark.parametrize("number", [1, -3, 2.0, True, "2", None, math.nan])
def test_what_is_no_integer_or_too_small_is_refused(number: object) -> None:
    with pytest.raises(SettingError) as caught:
        at_least(2, depth=3, width=number)
    assert str(caught.value) == f"width is {number!r}; give an integer of at least 2."


@pytest.mark.parametrize("number", [math.nan, math.inf, "1", True, None])
def test_what_is_no_finite_number_is_refused(number: object) -> None:
    for check in (positive, not_negative):
        with pytest.raises(SettingError) as caught:
            check(scale=0.5, gamma=number)
        assert str(caught.value) == f"gamma is {number!r}; give a finite number."


def test_0_is_not_negative_and_not_positive() -> None:
    not_negative(gamma=0, scale=0.0)
    with pytest.raises(SettingError, match=r"^gamma is 0; it must be positive\.$"):
        positive(gamma=0)
    with pytest.raises(SettingError, match=r"^gamma is -0\.5; it must be at least 0\.$"):
        not_negative(gamma=-0.5)


def test_what_may_be_left_out_is_checked_where_it_is_given() -> None:
    assert unless_none(width=3, depth=None) == {"width": 3}
    at_least(2, **unless_none(width=2, depth=None))
    with pytest.raises(SettingError, match="depth is 1"):
        at_least(2, **unless_none(width=2, depth=1))
