"""The cost of measuring."""

import math

import pandas as pd
import pytest

from llc_lightning.analysis.timing import timing


def test_parts_are_summed_by_callback_and_shared_out() -> None:
    parts = ["step=00000000-llc", "step=00000500-llc", "step=00000500-ablation", "step=00000500-llc-replicate=1"]
    found = timing(pd.DataFrame({"part": parts, "seconds": [10.0, 20.0, 5.0, 15.0]}), elapsed=100.0)
    assert [(cost.name, cost.parts, cost.seconds) for cost in found.costs] == [
        ("llc", 2, 30.0),
        ("llc-replicate=1", 1, 15.0),
        ("ablation", 1, 5.0),
    ]
    assert found.share == pytest.approx(0.5)
    assert found.sentence() == "Measuring took 50 s, 50 % of the run's 100 s."


def test_the_last_session_holds_those_before_it() -> None:
    parts = ["step=00000500-fit", "step=00003000-fit", "step=00003000-llc"]
    found = timing(pd.DataFrame({"part": parts, "seconds": [10.0, 40.0, 20.0]}), elapsed=7.0)
    assert [cost.name for cost in found.costs] == ["llc"]
    assert (found.elapsed, found.share) == (40.0, 0.5)


@pytest.mark.parametrize("elapsed", [0.0, 30.0])
def test_no_share_is_told_where_it_is_not_known(elapsed: float) -> None:
    found = timing(pd.DataFrame({"part": ["step=00000000-llc"], "seconds": [50.0]}), elapsed=elapsed)
    assert found.share is None
    assert found.sentence() == "Measuring took 50 s."


def test_nothing_measured_is_nothing_said() -> None:
    assert timing(pd.DataFrame({"part": [], "seconds": []}), elapsed=9.0).sentence() == ""


def test_what_was_measured_beside_the_training_is_no_share_of_it() -> None:
    parts = ["step=00000001-llc", "step=00000002-llc", "step=00000003-llc", "step=00000003-fit"]
    told = pd.DataFrame(
        {"part": parts, "seconds": [10.0, 200.0, 5.0, 100.0], "beside": [False, True, math.nan, math.nan]}
    )
    found = timing(told)
    assert (found.seconds, found.beside, found.share) == (215.0, 200.0, 0.15)
    assert found.sentence() == "Measuring took 215 s; the training waited for 15 s of them, 15 % of the run's 100 s."
    assert timing(told.drop(columns="beside")).share is None
