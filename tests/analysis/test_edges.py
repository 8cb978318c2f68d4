"""When edges enter and leave: planted trajectories, and tables that say too little or too much."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.edges import Passage, edge_lives, edge_rows, llc_transitions
from llc_lightning.runtime.errors import DataError, SettingError
from tests.analysis.synthetic import frame

STEPS = (0, 10, 20, 40, 80, 160)


def table(values: dict[str, list[float]], stderr: float = 0.001, **more: Any) -> pd.DataFrame:
    same: dict[str, Any] = {"quantity": "edge_effect", "kind": "edge", "method": "exact:resample", **more}
    return frame(
        [
            {**same, "component": edge, "step": step, "value": value, "stderr": stderr}
            for edge, some in values.items()
            for step, value in zip(STEPS, some, strict=True)
        ]
    )


def test_edges_enter_and_leave_between_the_snapshots_where_they_pass_the_threshold() -> None:
    lives = edge_lives(
        table(
            {
                "late": [0, 0, 0, 0.0, 0.2, 0.2],
                "gone": [0, 0.3, 0.3, 0, 0, 0],
                "never": [0, 0.09, 0, 0, 0, 0],
                "negative": [0, 0, 0, -1, -1, -1],
                "always": [0.5] * 6,
            }
        )
    )
    assert [one.edge for one in lives] == ["always", "gone", "negative", "late"]
    always, gone, negative, late = lives
    assert (always.enters, always.leaves) == (Passage(0.0, 0.0, 0.0), None)
    assert (gone.enters.low, gone.enters.high) == pytest.approx((0, 10))
    assert gone.leaves is not None
    assert (gone.leaves.low, gone.leaves.high) == pytest.approx((20, 40))
    assert gone.leaves.step == pytest.approx(np.expm1(np.log(21) + (2 / 3) * np.log(41 / 21)))
    assert late.enters.step == pytest.approx(np.expm1((np.log(41) + np.log(81)) / 2))
    assert (negative.largest, negative.last) == (-1, -1)
    assert negative.half is not None
    assert negative.overlaps(negative.half)
    assert not late.overlaps(gone.enters)


def test_errors_widen_the_interval_beyond_the_snapshots_and_say_what_is_not_sure() -> None:
    (one,) = edge_lives(table({"edge": [0, 0.08, 0.09, 0.11, 0.1, 0.1]}, stderr=0.02))
    assert one.enters.low < 10 < 40 < one.enters.high <= 160
    assert one.sure > 0.95
    assert not edge_lives(table({"edge": [0, 0.05, 0.05, 0.05, 0.05, 0.05]}, stderr=0.02))


def test_flagged_values_are_left_out_and_unreachable_ones_are_zeros() -> None:
    rows = table({"edge": [0, 0, 5, 0, 1, 1]})
    rows.loc[rows["step"] == 20, "status"] = "few-examples"
    rows.loc[rows["step"] == 0, "status"] = "unreachable"
    (one,) = edge_lives(rows)
    assert one.left_out == 1
    assert (one.enters.low, one.enters.high) == pytest.approx((40, 80))


def test_an_edge_that_no_circuit_of_a_step_holds_has_the_share_zero() -> None:
    shares = table({"edge": [np.nan, np.nan, 1.0, 1.0, np.nan, np.nan]}, quantity="edge_share").dropna(subset="value")
    counts = table({"": [3.0] * 6}, quantity="circuit_resamples")
    (one,) = edge_lives(pd.concat([shares, counts]), quantity="edge_share")
    assert (one.enters.low, one.enters.high) == pytest.approx((10, 20))
    assert one.leaves is not None
    assert (one.leaves.low, one.leaves.high) == pytest.approx((40, 80))


def test_a_share_of_no_circuit_has_the_error_of_two_more_that_hold_it_and_two_that_do_not() -> None:
    shares = table({"edge": [np.nan, np.nan, np.nan, 1.0, 1.0, 1.0]}, quantity="edge_share").dropna(subset="value")
    counts = table({"": [2.0] * 6}, quantity="circuit_resamples")
    few, many = (
        edge_lives(pd.concat([shares, counts.assign(value=n)]), quantity="edge_share", least=0.3)[0].enters
        for n in (2.0, 10_000.0)
    )
    assert few.low == 0  # the error of 2 of 6 is .19: it may have been there from the first snapshot on
    assert (many.low, many.high) == pytest.approx((20, 40))


def test_where_no_circuit_was_found_anew_no_share_is_made_up() -> None:
    shares = table({"edge": [np.nan, np.nan, 1.0, 1.0, np.nan, np.nan]}, quantity="edge_share").dropna(subset="value")
    sizes = table({"": [3.0] * 6}, quantity="circuit_edges")
    others = table({"": [3.0] * 6}, quantity="circuit_resamples", method="ugs:mean")
    failed = table({"": [np.nan] * 6}, quantity="circuit_resamples").assign(status="nan-loss")
    (one,) = edge_lives(pd.concat([shares, sizes, others, failed]), quantity="edge_share")
    assert (one.enters.step, one.leaves) == (0, None)


def test_an_unreachable_edge_with_another_reason_against_it_is_left_out() -> None:
    rows = table({"edge": [0, 0, 1, 1, 1, 1]})
    rows.loc[rows["step"] == 10, "status"] = "one-example+unreachable"
    assert edge_lives(rows)[0].left_out == 1


def test_several_ways_and_settings_are_told_apart() -> None:
    some, others = table({"edge": [1.0] * 6}), table({"edge": [2.0] * 6}, method="eap:mean")
    both = pd.concat([some, others], ignore_index=True)
    with pytest.raises(DataError, match="with eap:mean and with exact:resample"):
        edge_lives(both)
    assert edge_lives(both, method="eap:mean")[0].largest == 2
    with pytest.raises(DataError, match="several settings"):
        edge_rows(pd.concat([some, some.assign(settings="other")], ignore_index=True))
    with pytest.raises(SettingError, match="says nothing of edges"):
        edge_lives(some, quantity="loss")
    with pytest.raises(SettingError, match="above 0"):
        edge_lives(some, least=0.0)
    assert not edge_lives(some.iloc[:0])


def test_the_transition_of_the_llc_is_of_rows_that_are_ok() -> None:
    llc = table(
        {"": [1, 1, 1, 9, 9, 9]}, quantity="llc", kind="all", method="", params_moved="all", n_beta=30.0, gamma=1.0
    )
    llc.loc[llc["step"] == 0, ["status", "value"]] = "not-mixed", 50.0
    ((at, found),) = llc_transitions(llc).items()
    assert at == (30.0, 1.0)
    assert found is not None
    assert (found.since, found.until) == (20, 40)


def test_the_llc_of_several_settings_is_no_one_curve() -> None:
    same: dict[str, Any] = {"quantity": "llc", "kind": "all", "method": "", "params_moved": "all", "gamma": 1.0}
    llc = table({"": [1.0] * 6}, n_beta=30.0, **same)
    with pytest.raises(DataError, match="several settings"):
        llc_transitions(pd.concat([llc, llc.assign(settings="other", value=9.0)], ignore_index=True))
