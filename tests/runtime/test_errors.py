"""The sentences about unknown names."""

import math

import pytest

from llc_lightning.runtime import errors
from llc_lightning.runtime.errors import SettingError, at_least, not_negative, positive, unless_none


@pytest.mark.parametrize(
    "error",
    [
        errors.SettingError,
        errors.AddressError,
        errors.DataError,
        errors.SnapshotError,
        errors.StoreError,
        errors.MeasurementError,
    ],
)
def test_every_error_is_of_the_family(error: type[Exception]) -> None:
    assert issubclass(error, errors.LLCLightningError)
    assert issubclass(error, ValueError)


def test_nearest_ignores_capitals_and_prints_the_option_itself() -> None:
    assert errors.nearest("w_IN.WEIGHT", ["net.W_in.weight", "W_in.weight", "zzz"])[0] == "W_in.weight"


def test_nearest_finds_nothing_far_away() -> None:
    assert errors.nearest("qqq", ["zero", "mean"]) == []


def test_nearest_gives_at_most_n() -> None:
    assert errors.nearest("aaa1", [f"aaa{i}" for i in range(10)], n=2) == ["aaa1", "aaa9"]


def test_unknown_names_the_nearest_and_all_allowed() -> None:
    assert (
        errors.unknown("ablation method", "zerro", ["zero", "mean"])
        == "unknown ablation method 'zerro'; did you mean 'zero'? Use one of: mean, zero."
    )


def test_unknown_without_a_near_one() -> None:
    assert errors.unknown("method", "qqq", ["zero", "mean"]) == "unknown method 'qqq'. Use one of: mean, zero."


def test_unknown_with_a_long_list_tells_its_length() -> None:
    message = errors.unknown("address", "qqq", [f"n{i:02d}" for i in range(30)])
    assert message.startswith("unknown address 'qqq'. Use one of 30 names, among them: n00, n01,")
    assert message.endswith("n19.")


def test_unknown_with_nothing_allowed() -> None:
    assert errors.unknown("method", "zero", []) == "unknown method 'zero'; there is none to choose from."


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
