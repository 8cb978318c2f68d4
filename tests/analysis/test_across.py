"""The same finding of several runs."""

import math

import pandas as pd
import pytest

from llc_lightning.analysis.across import Measurements, associations_over, collapses_over, found_over, led_over, over
from llc_lightning.analysis.table import Measured
from llc_lightning.runtime.errors import DataError
from tests.analysis.test_collapse import rows
from tests.analysis.test_scores import UNITS, UNREAD
from tests.analysis.test_scores import rows as scored

TRUTH = {f"a[{unit}]": unit < UNREAD for unit in range(UNITS)}


def test_a_mean_over_runs_has_the_interval_of_student() -> None:
    one = over([Measured(1.0, 0.1), Measured(3.0, 0.1), Measured(float("nan"), 0.1)])
    assert (one.mean, one.runs) == (2.0, 2)
    assert one.high - one.mean == pytest.approx(12.706, abs=1e-3)  # t of one degree of freedom, times sqrt(2) / sqrt(2)
    alone = over([2.0])
    assert (alone.mean, alone.runs) == (2.0, 1)
    assert math.isnan(alone.low)
    assert str(over([])) == "no value"


def test_runs_of_a_net_come_together_and_those_of_another_do_not() -> None:
    runs = [Measurements(f"{net}-{seed}", net, rows(scatter=0.05, seed=seed)) for net in "ab" for seed in range(2)]
    found = collapses_over(runs[:3])
    assert [(one.net, one.key, len(one.found)) for one in found] == [
        *(("a", ("neuron", method, "0"), 2) for method in ("zero", "mean")),
        *(("b", ("neuron", method, "0"), 1) for method in ("zero", "mean")),
    ]
    assert [one.asked for one in found] == [2, 2, 1, 1]


def test_the_last_step_alone_is_told_over_runs() -> None:
    table = rows(scatter=0.0)
    failed = pd.concat([table, table.assign(step=9, status="not-mixed")])
    assert collapses_over([Measurements("a", "a", failed)]) == []
    assert associations_over([Measurements("a", "a", failed)]) == []
    assert [one.key[2:] for one in associations_over([Measurements("a", "a", table)])[:1]] == [
        ("0", "n_beta 100, gamma 1")
    ]


def test_scores_are_judged_at_every_rung_and_effects_once() -> None:
    found = {one.key: one.found for one in found_over([Measurements("a", "a", scored(), TRUTH)] * 2)}
    assert [one.auroc for one in found["wrLLC:min", "n_beta 30, gamma 1"]] == [1.0, 1.0]
    assert [one.auroc for one in found["wrLLC", "n_beta 300, gamma 1"]] == [1.0, 1.0]
    assert len(found["zero", ""]) == 2
    assert ("zero", "n_beta 30, gamma 1") not in found


def test_without_a_truth_nothing_is_judged_and_without_wrllc_nothing_dated() -> None:
    assert found_over([Measurements("a", "a", scored())]) == []
    assert led_over([Measurements("a", "a", scored().loc[lambda table: table["quantity"] != "llc"])]) == []


def test_an_error_names_the_run() -> None:
    twice = rows(scatter=0.0)
    twice = pd.concat([twice, twice.loc[twice["quantity"] == "llc"].assign(settings="other", n_examples=1)])
    with pytest.raises(DataError, match=r"^second: .*several settings"):
        collapses_over([Measurements("first", "a", rows(scatter=0.0)), Measurements("second", "a", twice)])


def test_a_single_run_has_the_interval_of_its_own_chains() -> None:
    one = over([Measured(2.0, 0.1)], chains=4)
    assert one.high - one.mean == pytest.approx(0.318, abs=1e-3)


def test_a_component_that_a_score_lacks_counts_as_its_least() -> None:
    some = scored().loc[lambda rows: ~((rows["component"] == "a[0]") & (rows["quantity"] == "ablation_effect"))]
    found = {one.key: one.found[0] for one in found_over([Measurements("a", "a", some, TRUTH)])}
    assert found["zero", ""].components == UNITS
    assert found["zero", ""].auroc < 1.0
    assert found["wrLLC:min", "n_beta 30, gamma 1"].auroc == 1.0


def test_a_truth_is_judged_at_the_last_step_with_a_coefficient() -> None:
    later = scored().loc[lambda rows: rows["quantity"] == "ablation_effect"].assign(step=9)
    found = found_over([Measurements("a", "a", pd.concat([scored(), later]), TRUTH)])
    assert ("wrLLC", "n_beta 30, gamma 1") in {one.key for one in found}
