"""The sentences about unknown names."""

import pytest

from llc_lightning.runtime import errors


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
