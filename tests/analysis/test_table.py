"""Reading the measurement table."""

import math

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis import table
from llc_lightning.runtime.errors import SettingError
from tests.analysis.synthetic import SyntheticRun, frame


def test_intervals_use_t_for_chains_and_the_normal_for_examples() -> None:
    # Quantiles of t(3), t(7) and the normal from a printed table.
    stderr = np.array([1.0, 2.0, 0.5, 1.0])
    half = table.half_width(stderr, np.array([4.0, 8.0, 0.0, 1.0]))
    np.testing.assert_allclose(half[:3], [3.182446, 2 * 2.364624, 0.5 * 1.959964], rtol=1e-6)
    assert np.isnan(half[3]), "a single chain has no error"


def test_narrower_intervals_for_lower_levels() -> None:
    one = np.array([1.0])
    assert table.half_width(one, np.array([0.0]), 0.6827)[0] == pytest.approx(1, abs=1e-3)
    with pytest.raises(SettingError, match="level of an interval is 95"):
        table.half_width(one, one, 95.0)


def test_rows_are_ok_only_with_status_ok_and_a_finite_value() -> None:
    rows = frame([{"value": 1.0}, {"value": 1.0, "status": "not-local"}, {"value": np.nan}])
    assert table.ok(rows).tolist() == [True, False, False]


def test_the_finest_components_are_the_units(superposed: pd.DataFrame) -> None:
    assert table.unit_kind(superposed) == "neuron"
    assert table.unit_kind(frame([{"quantity": "llc", "kind": "all"}])) is None
    assert table.unit_kind(frame([{"quantity": "llc", "kind": kind} for kind in ("layer", "head", "all")])) == "head"
    assert table.components(superposed, "neuron") == [f"net.hook_hidden[{unit}]" for unit in range(32)]


def test_pairs_are_never_the_units() -> None:
    kinds = ["pair", "pair", "position"]
    rows = frame([{"quantity": "ablation_effect", "kind": kind} for kind in kinds])
    assert table.unit_kind(rows) == "position"
    assert table.unit_kind(rows.iloc[:2]) is None


def test_restricted_and_full_llc_leave_replicates_and_other_masks_out() -> None:
    base = {"quantity": "llc", "value": 1.0}
    neuron = {**base, "component": "a[0]", "kind": "neuron", "params_moved": "a[0]"}
    rows = frame(
        [
            {**base, "kind": "all", "params_moved": "all"},
            {**base, "kind": "all", "params_moved": "all-a[0]"},
            neuron,
            {**neuron, "replicate": 1, "settings": "again"},
            {**neuron, "params_moved": "all"},
        ]
    )
    assert table.full_llc(rows).index.tolist() == [0]
    assert table.restricted_llc(rows).index.tolist() == [2]


def test_matching_takes_the_value_with_the_most_examples() -> None:
    left = frame([{"component": "a", "value": 5.0, "n_examples": 7}, {"component": "b", "value": 6.0}])
    right = frame(
        [{"component": "a", "value": value, "n_examples": n} for value, n in ((1.0, 10), (2.0, 90), (3.0, 50))]
    )
    pairs = table.matched(left, right, ["component"], ("llc", "effect"))
    assert pairs[["component", "llc", "effect"]].to_dict("records") == [{"component": "a", "llc": 5.0, "effect": 2.0}]


def test_an_empty_table_has_nothing() -> None:
    rows = SyntheticRun(steps=()).table()
    assert len(rows) == 0
    assert table.unit_kind(rows) is None
    assert len(table.restricted_llc(rows)) == len(table.full_llc(rows)) == 0


@pytest.mark.parametrize(
    ("value", "stderr", "written"),
    [
        (0.14113, 0.0014, "0.1411 ± 0.0014"),
        (265.91, 4.2, "266 ± 4"),
        (-5477.95, 124.0, "-5480 ± 120"),
        (8.1, 0.2, "8.1 ± 0.2"),
        (8.1, 0.199, "8.1 ± 0.2"),
        (1.0, 0.0951, "1.00 ± 0.10"),
        (2e-7, 3e-8, "0.00000020 ± 0.00000003"),
        (16.0, 0.0, "16"),
        (32.0, 1e-4, "32"),
        (0.123456789, 1e-9, "0.123457"),
        (0.123456, math.nan, "0.1235"),
        (math.nan, 1.0, "no value"),
    ],
)
def test_the_error_says_how_many_digits_the_value_has(value: float, stderr: float, written: str) -> None:
    assert str(table.Measured(value, stderr)) == written
