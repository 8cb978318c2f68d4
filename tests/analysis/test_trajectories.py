"""Tidy trajectories."""

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.trajectories import COLUMNS, plus_delta, trajectories
from llc_lightning.runtime.errors import SettingError
from tests.analysis.synthetic import METHODS, STEPS, SyntheticRun, frame


def test_the_full_llc_has_one_value_and_interval_for_each_step(superposed: pd.DataFrame) -> None:
    found = trajectories(superposed, quantities=["llc"], component="")
    assert tuple(found.columns) == COLUMNS
    assert found["step"].tolist() == list(STEPS)
    half = 3.182446 * found["stderr"]
    np.testing.assert_allclose(found["high"] - found["value"], half, rtol=1e-6)
    np.testing.assert_allclose(found["value"] - found["low"], half, rtol=1e-6)


def test_replicates_and_other_losses_are_left_out(superposed: pd.DataFrame) -> None:
    one = trajectories(superposed, component="net.hook_hidden[3]")
    counts = one.groupby("quantity").size()
    assert counts["llc"] == 3 * len(STEPS)
    assert counts["ablation_effect"] == len(METHODS) * len(STEPS)
    assert not one.duplicated(["quantity", "component", "method", "n_beta", "gamma", "step"]).any()


def test_globs_take_brackets_literally(superposed: pd.DataFrame) -> None:
    some = trajectories(superposed, quantities=["llc"], component="net.hook_hidden[1*")
    assert set(some["component"]) == {f"net.hook_hidden[{unit}]" for unit in (1, *range(10, 20))}


def test_circuits_are_found_by_their_loss(superposed: pd.DataFrame) -> None:
    found = trajectories(
        superposed,
        quantities=["ablation_effect"],
        component="net.hook_hidden[0]",
        methods=["zero"],
        losses=["circuit:1*"],
    )
    assert set(found["loss"]) == {f"circuit:{i}" for i in range(10, 20)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"quantities": ["lcl"]}, "unknown quantity 'lcl'; did you mean 'llc'"),
        ({"methods": ["zeor"]}, "unknown method 'zeor'; did you mean 'zero'"),
        ({"component": "net.hook_hiden[3]"}, "unknown component .*did you mean 'net.hook_hidden\\[3\\]'"),
        ({"losses": ["circuit:99"]}, "unknown loss 'circuit:99'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(
    superposed: pd.DataFrame, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        trajectories(superposed, **wrong)


def test_delta_is_added_with_both_errors_and_all_reasons() -> None:
    base = {"component": "a", "params_moved": "a", "n_beta": 100.0, "gamma": 10.0, "kind": "neuron"}
    rows = frame(
        [
            {**base, "quantity": "llc", "value": 5.0, "stderr": 3.0, "chains": 4, "status": "not-a-minimum"},
            {**base, "quantity": "llc_correction", "value": 2.0, "stderr": 4.0, "status": "error"},
            {**base, "quantity": "llc", "value": 5.0, "stderr": 3.0, "step": 1},
            {**base, "quantity": "llc_correction", "value": 2.5, "step": 1},
            {**base, "quantity": "llc", "value": 5.0, "stderr": 3.0, "step": 2},
        ]
    )
    total = plus_delta(rows)
    assert total["value"].tolist() == [7.0, 7.5]
    assert total["stderr"].tolist() == [5.0, 3.0]
    assert total["status"].tolist() == ["error+not-a-minimum", "ok"]
    assert total["chains"].tolist() == [4, 0]


def test_an_empty_table_has_no_trajectories() -> None:
    found = trajectories(SyntheticRun(steps=()).table(), quantities=["llc"])
    assert len(found) == 0
    assert tuple(found.columns) == COLUMNS
