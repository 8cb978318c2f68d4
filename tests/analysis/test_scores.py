"""Scores of components beside each other, and what they find."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.scores import at_random, found_by, scores
from llc_lightning.runtime.errors import DataError
from tests.analysis.synthetic import frame

UNITS = 6
UNREAD, SILENT = 4, 5
"""Made but not read; read but never active."""


def rows() -> pd.DataFrame:
    found: list[dict[str, Any]] = []
    for unit in range(UNITS):
        whole = f"a[{unit}]"
        sides = {"": 2.0 + unit, ":in": 0.0 if unit == UNREAD else 1.0 + unit, ":out": 0.0 if unit == SILENT else 3.0}
        for side, value in sides.items():
            kind = {"": "neuron", ":in": "incoming", ":out": "outgoing"}[side]
            one = {"component": whole + side, "kind": kind, "quantity": "llc", "params_moved": whole + side}
            slope = {"component": whole + side, "kind": kind, "quantity": "grad_norm"}
            found.append({**slope, "value": value / 100})
            status = "not-mixed" if (unit, side) == (0, ":out") else "ok"
            found.append({**one, "value": value, "stderr": 0.1, "n_beta": 30.0, "gamma": 1.0, "status": status})
            found.append({**one, "value": -value, "n_beta": 300.0, "gamma": 1.0})
            found.append({**one, "value": 99.0, "n_beta": 30.0, "gamma": 1.0, "replicate": 1})
        effect = {"component": whole, "kind": "neuron", "quantity": "ablation_effect", "method": "zero"}
        found.append({**effect, "value": -1.0 if unit < UNREAD else 0.0, "stderr": 0.01})
        found.append({**effect, "value": 5.0, "loss": "task:one"})
        norm = {"component": whole, "kind": "neuron", "quantity": "weight_norm"}
        found.append({**norm, "value": 1.0 + unit})
        shift = {"component": whole, "kind": "neuron", "quantity": "llc_shift", "method": "mean"}
        found.append({**shift, "value": -2.0, "n_beta": 30.0, "gamma": 1.0})
        found.append({**shift, "value": 7.0, "n_beta": 300.0, "gamma": 1.0})
    return frame(found)


def by_score(n_beta: float = 30.0) -> dict[str, dict[str, float]]:
    table = scores(rows(), step=0, n_beta=n_beta, gamma=1.0)
    return {str(name): dict(zip(one["component"], one["value"], strict=True)) for name, one in table.groupby("score")}


def test_every_score_of_one_resolution() -> None:
    found = by_score()
    assert sorted(found) == sorted(
        [
            *("wrLLC", "wrLLC:in", "wrLLC:out", "wrLLC:min", "zero", "llc_shift (mean)"),
            *("weight_norm", "grad_norm", "grad_norm:in", "grad_norm:out"),
        ]
    )
    assert found["wrLLC"] == {f"a[{unit}]": 2.0 + unit for unit in range(UNITS)}
    assert found["zero"]["a[0]"] == -1.0
    assert set(found["llc_shift (mean)"].values()) == {-2.0}
    assert set(by_score(300.0)["llc_shift (mean)"].values()) == {7.0}
    for side in ("", ":in", ":out"):
        assert found[f"grad_norm{side}"] == {name: one / 100 for name, one in found[f"wrLLC{side}"].items()}


def test_the_smaller_side_is_zero_for_the_unread_and_for_the_silent() -> None:
    found = by_score()["wrLLC:min"]
    assert [found[f"a[{unit}]"] for unit in range(UNITS)] == [1.0, 2.0, 3.0, 3.0, 0.0, 0.0]


@pytest.mark.parametrize("left_out", ["incoming", "outgoing", "neuron"])
def test_the_smaller_side_needs_both_sides_and_nothing_else(left_out: str) -> None:
    some = rows().loc[lambda table: table["kind"] != left_out].sample(frac=1.0, random_state=0)
    found = set(scores(some, step=0, n_beta=30.0, gamma=1.0)["score"])
    assert ("wrLLC:min" in found) == (left_out == "neuron")
    assert ("wrLLC" in found) == (left_out != "neuron")


def test_the_smaller_side_has_no_value_where_a_side_failed() -> None:
    failed = rows()
    failed.loc[failed["component"] == "a[4]:out", ["value", "status"]] = [np.nan, "error"]
    table = scores(failed, step=0, n_beta=30.0, gamma=1.0).set_index(["score", "component"])
    assert np.isnan(table.loc[("wrLLC:min", "a[4]"), "value"])
    assert table.loc[("wrLLC:min", "a[4]"), "status"] == "error"
    truth = {f"a[{unit}]": unit < UNREAD for unit in range(UNITS)}
    (smaller,) = (one for one in found_by(table.reset_index(), truth) if one.score == "wrLLC:min")
    # One of the two that do not matter has no value, and stands before all that do.
    assert (smaller.auroc, smaller.components, smaller.ok) == (0.5, UNITS, UNITS - 2)


def test_several_settings_of_one_score_are_refused_and_more_examples_are_not() -> None:
    effects = rows().loc[lambda table: table["method"] == "zero"]
    more = pd.concat([rows(), effects.assign(n_examples=64, value=3.0)])
    assert set(scores(more, step=0, n_beta=30.0, gamma=1.0).query("score == 'zero'")["value"]) == {3.0}
    with pytest.raises(DataError, match=r"of 'a\[\d\]' was measured under several settings"):
        scores(pd.concat([rows(), effects.assign(settings="others")]), step=0, n_beta=30.0, gamma=1.0)


def test_the_smaller_side_has_the_reasons_of_both() -> None:
    table = scores(rows(), step=0, n_beta=30.0, gamma=1.0)
    smaller = table.loc[table["score"] == "wrLLC:min"].set_index("component")
    assert smaller["status"].to_dict() == {f"a[{unit}]": "not-mixed" if unit == 0 else "ok" for unit in range(UNITS)}


def test_what_scores_find() -> None:
    truth = {f"a[{unit}]": unit < UNREAD for unit in range(UNITS)}
    found = {one.score: one for one in found_by(scores(rows(), step=0, n_beta=30.0, gamma=1.0), truth)}
    assert (found["wrLLC:min"].auroc, found["wrLLC:min"].precision) == (1.0, 1.0)
    assert found["zero"].auroc == 1.0
    assert found["wrLLC"].auroc == found["weight_norm"].auroc == 0.0
    assert found["llc_shift (mean)"].auroc == 0.5
    assert (found["wrLLC:out"].components, found["wrLLC:out"].ok) == (UNITS, UNITS - 1)
    assert found["wrLLC:in"].auroc == found["grad_norm:in"].auroc == 4 / 8
    assert found["wrLLC:in"].low < 4 / 8 < found["wrLLC:in"].high


def test_the_best_comes_first_and_the_interval_holds_the_area() -> None:
    draws = np.random.default_rng(0)
    truth = {f"a[{unit}]": unit < 20 for unit in range(60)}
    held = 0
    for _ in range(100):
        values = draws.normal(0.0, 1.0, 60) + 10 + 1.0 * (np.arange(60) < 20)
        one = pd.DataFrame({"component": list(truth), "score": "x", "value": values, "stderr": 0.1, "status": "ok"})
        found = next(one for one in found_by(one, truth) if one.score == "x")
        held += found.low <= 0.7602 <= found.high  # Phi(1 / sqrt(2))
    assert held >= 85  # of 95 expected, with a standard deviation of 2.2


def test_orders_at_random_reach_as_much_as_they_can() -> None:
    truth = {"a[0]": True, "a[1]": False, "a[2]": False}
    one = pd.DataFrame(
        {"component": list(truth), "score": "x", "value": [3.0, 2.0, 1.0], "stderr": 0.1, "status": "ok"}
    )
    (best,) = found_by(one, truth)
    assert (at_random([best]) == 1).mean() == pytest.approx(1 / 3, abs=0.02)
    assert (at_random([best, best]) == 1).mean() == pytest.approx(1 / 9, abs=0.013)
    assert at_random([best]).mean() == pytest.approx(0.5, abs=0.02)


def test_a_missing_value_never_helps_a_score() -> None:
    truth = {"a[0]": True, "a[1]": False, "a[2]": False}
    rows = pd.DataFrame(
        {"component": list(truth), "score": "x", "value": [3.0, 2.0, np.nan], "stderr": 0.1, "status": "ok"}
    )
    (found,) = found_by(rows, truth)
    assert found.auroc == 0.5
    (found,) = found_by(rows.assign(value=[np.nan, 2.0, 1.0]), truth)
    assert found.auroc == 0.0


@pytest.mark.parametrize("matters", [True, False])
def test_a_truth_of_one_kind_is_refused(matters: bool) -> None:
    with pytest.raises(DataError, match="to tell them apart takes some that do and some that do not"):
        found_by(scores(rows(), step=0, n_beta=30.0, gamma=1.0), {"a[0]": matters})


def test_no_rows_give_no_scores() -> None:
    assert scores(frame([]), step=0, n_beta=30.0, gamma=1.0).empty


def test_what_was_measured_at_another_resolution_alone_comes_from_there() -> None:
    some = rows()
    elsewhere = (some["quantity"] == "llc_shift") & (some["n_beta"] == 300.0)
    table = scores(some.loc[elsewhere | (some["quantity"] != "llc_shift")], step=0, n_beta=30.0, gamma=1.0)
    (there,) = {*table.loc[table["score"] == "llc_shift (mean)", "n_beta"]}
    assert there == 300.0
    assert {*table.loc[table["score"] == "wrLLC", "n_beta"]} == {30.0}
    assert table.loc[table["score"] == "zero", "n_beta"].isna().all()
    assert dict(zip(table["score"], table["view"], strict=True)) == {
        **dict.fromkeys(("wrLLC", "wrLLC:in", "wrLLC:out", "wrLLC:min", "llc_shift (mean)"), "llc"),
        **{"zero": "effect", "weight_norm": "size"},
        **dict.fromkeys(("grad_norm", "grad_norm:in", "grad_norm:out"), "slope"),
    }
