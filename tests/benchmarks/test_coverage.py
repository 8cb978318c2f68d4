"""A sample of the simulations of intervals and p-values."""

from pathlib import Path

import pytest

from benchmarks import intervals
from benchmarks.coverage import NULLS, errors, unit
from benchmarks.intervals import METHODS, coverage


def test_a_few_data_sets_are_covered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(intervals, "_POPULATION", 10_000)
    kept = tmp_path / "kept.jsonl"
    found = coverage("imbalanced classifier", sets=40, kept=kept)
    assert set(found) == {method for some in METHODS for method in some}
    for one in found.values():
        assert one.normal >= 0.75  # of 40 at .95 fewer come once in 10^5
        assert one.interval >= 0.75
        assert 0.6 < one.ratio < 1.6
        assert abs(one.bias) < 0.8  # 5 / root of 40
    monkeypatch.setattr(intervals.Simulation, "_measured", None)  # what was kept is not measured again
    assert coverage("imbalanced classifier", sets=40, kept=kept) == found


@pytest.mark.parametrize("name", NULLS)
def test_p_values_err_as_often_as_they_say(name: str) -> None:
    _, ok = errors(name, 100, sets=500)
    assert ok <= 0.065 + 3 * 0.011  # three binomial errors


def test_one_unit_is_found_among_nulls() -> None:
    assert unit(among=64) < 1e-3
