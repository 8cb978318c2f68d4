"""Counts of what is ok and what is not."""

import numpy as np
import pandas as pd

from llc_lightning.analysis.health import health
from tests.analysis.synthetic import SyntheticRun, frame


def test_every_row_is_counted_once() -> None:
    base = {"quantity": "llc", "kind": "neuron", "value": 1.0}
    rows = frame(
        [
            {**base, "step": 0, "status": "not-local+not-mixed"},
            {**base, "step": 0, "status": "error", "value": np.nan},
            {**base, "step": 5, "status": "not-mixed"},
            {**base, "step": 9},
            {**base, "step": 20},
            {"quantity": "loss", "value": 1.0},
        ]
    )
    found = health(rows)
    assert (found.ok, found.flagged, found.failed) == (3, 2, 1)
    neurons, loss = found.counts
    assert (neurons.ok, neurons.flagged, neurons.failed, neurons.total, neurons.ok_from) == (2, 2, 1, 5, 9)
    assert loss.ok_from == 0
    reasons = {one.reason: one for one in found.troubles}
    assert list(reasons) == ["error", "not-local", "not-mixed"]
    assert (reasons["not-mixed"].rows, reasons["not-mixed"].first_step, reasons["not-mixed"].last_step) == (2, 0, 5)
    assert reasons["error"].failed
    assert "raise gamma" in reasons["not-local"].sentence


def test_a_synthetic_run_is_ok_from_where_it_should_be(superposed: pd.DataFrame) -> None:
    found = health(superposed)
    assert {(one.kind, one.ok_from) for one in found.counts if one.quantity == "llc"} == {
        *(("all", 805), ("layer", 155), ("neuron", 155))
    }
    assert found.failed == 1
    assert "The full LLC is ok from step 805 on." in found.sentences()
    assert "The wrLLC of every neuron is ok from step 155 on." in found.sentences()


def test_trouble_at_the_last_step_is_told() -> None:
    rows = frame([{"quantity": "llc", "kind": "all", "status": "drifting", "value": 1.0, "step": 3}])
    assert health(rows).counts[0].ok_from is None
    assert "The full LLC is not ok at the last step." in health(rows).sentences()
    base = {"quantity": "llc", "kind": "neuron", "value": 1.0, "step": 3}
    units = health(frame([{**base, "component": "a"}, {**base, "component": "b", "status": "drifting"}]))
    assert "At the last step 1 of 2 wrLLC of neurons are ok." in units.sentences()


def test_an_empty_table_is_healthy() -> None:
    found = health(SyntheticRun(steps=()).table())
    assert found.counts == found.troubles == ()
    assert found.sentences() == ["0 of 0 rows are ok, 0 flagged, 0 failed."]
