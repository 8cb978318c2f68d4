"""A sample of the simulations of intervals and p-values."""

import pytest

from benchmarks.coverage import CASES, METHODS, NULLS, errors, intervals, unit


def test_a_few_data_sets_are_covered() -> None:
    found = intervals(CASES["imbalanced classifier"], sets=12, resamples=99)
    assert set(found) == set(METHODS)
    assert all(one.normal >= 0.6 for one in found.values())  # of 12 at .95 fewer come once in 10^5
    assert all(0.3 < one.ratio < 2 for one in found.values())


@pytest.mark.parametrize("name", NULLS)
def test_p_values_err_as_often_as_they_say(name: str) -> None:
    _, ok = errors(name, 100, sets=500)
    assert ok <= 0.065 + 3 * 0.011  # three binomial errors


def test_one_unit_is_found_among_nulls() -> None:
    assert unit(among=64) < 1e-3
