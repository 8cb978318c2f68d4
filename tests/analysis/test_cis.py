"""The verdict on computation in superposition."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis import table
from llc_lightning.analysis.cis import (
    effect_matrix,
    participation_ratio,
    superposition_over_training,
    superposition_verdict,
)
from tests.analysis.synthetic import STEPS, SyntheticRun, frame


def test_participation_ratios_of_known_matrices() -> None:
    np.testing.assert_array_equal(participation_ratio(np.diag([0.1, 2.0, 5.0])), [1, 1, 1])
    np.testing.assert_allclose(participation_ratio(np.full((2, 7), 0.3)), [7, 7])
    np.testing.assert_allclose(participation_ratio(np.array([[3.0, 1.0, -9.0, np.nan]])), [16 / 10])
    np.testing.assert_array_equal(participation_ratio(np.array([[-1.0, 0.0]])), [0])


def test_the_matrix_is_read_as_planted(superposed: pd.DataFrame) -> None:
    found = effect_matrix(superposed)
    assert found is not None
    assert (found.step, found.method) == (3000, "mean")
    assert found.units[2] == "net.hook_hidden[2]"
    assert found.circuits[11] == "circuit:11"
    np.testing.assert_allclose(found.effects, SyntheticRun().effect_matrix(3000))
    np.testing.assert_allclose(found.units_per_circuit, participation_ratio(found.effects.T))


def test_entries_that_are_not_ok_are_left_out() -> None:
    base = {"quantity": "ablation_effect", "method": "zero", "kind": "neuron", "component": "a[0]", "value": 1.0}
    rows = frame(
        [
            {**base, "loss": "circuit:0"},
            {**base, "loss": "circuit:1", "status": "error", "value": np.nan},
            {**base, "loss": "circuit:2"},
        ]
    )
    found = effect_matrix(rows)
    assert found is not None
    assert found.method == "zero"
    np.testing.assert_array_equal(found.effects, [[1, np.nan, 1]])
    assert found.circuits_per_unit.tolist() == [2]


def test_the_superposed_net_is_recognised(superposed: pd.DataFrame) -> None:
    verdict = superposition_verdict(superposed)
    assert verdict is not None
    assert verdict.superposition
    assert (verdict.step, verdict.circuits, verdict.circuits_dedicated) == (3000, 32, 16)
    assert verdict.trained.best_baseline == "dedicated"
    assert verdict.loss.stderr == 0.004, "the loss on the examples of the baselines counts"
    assert verdict.loss_ratio.value == pytest.approx(verdict.loss.value / 0.5)
    assert verdict.loss_ratio.stderr == pytest.approx(
        verdict.loss_ratio.value * np.hypot(0.004 / verdict.loss.value, 0.002 / 0.5)
    )
    said = " ".join(verdict.sentences())
    assert "computes in superposition: it solves 32 of 32 circuits, more than the 16" in said
    assert "(0.75 without sharing)" in said
    assert "mean-ablation" in said


def test_every_measure_is_compared_within_itself(superposed: pd.DataFrame, control: pd.DataFrame) -> None:
    mine, other = superposition_verdict(superposed), superposition_verdict(control)
    assert mine is not None
    assert other is not None
    assert [one.unit for one in mine.losses] == ["error^4 / q", "error^2 / q"]
    assert [one.unit for one in other.losses] == ["error^2 / q", "error^4 / q"]
    assert [one.below for one in (*mine.losses, *other.losses)] == [True, False, False, True]
    for verdict in (mine, other):
        for one in verdict.losses:
            assert one.ratio.value == pytest.approx(one.loss.value / 0.5)
            assert one.sentence().count("error^") == 1
            assert ("trained on" in one.sentence()) == (one is verdict.trained)
        assert any("The measures disagree" in said for said in verdict.sentences())


def test_a_loss_of_zero_and_a_baseline_of_zero_have_a_verdict(superposed: pd.DataFrame) -> None:
    verdict = superposition_verdict(superposed)
    assert verdict is not None
    nothing = table.Measured(0.0, 0.0)
    perfect = replace(verdict.trained, loss=nothing)
    assert perfect.ratio.value == 0
    assert perfect.below
    beaten = replace(verdict.trained, baselines={**verdict.trained.baselines, verdict.trained.best_baseline: nothing})
    assert np.isnan(beaten.ratio.value)
    assert not beaten.below
    assert "is not to be compared with the best baseline's, which is 0" in beaten.sentence()


def test_the_control_shares_as_well_whatever_its_own_loss_says(control: pd.DataFrame) -> None:
    verdict = superposition_verdict(control)
    assert verdict is not None
    assert verdict.solves_more
    assert verdict.superposition
    assert not verdict.trained.below
    assert 0 < verdict.shared < 0.5
    assert "computes in superposition: it solves 21 of 32 circuits" in verdict.sentences()[0]


def test_both_comparisons_are_needed_and_clear(superposed: pd.DataFrame) -> None:
    verdict = superposition_verdict(superposed)
    assert verdict is not None
    assert not replace(verdict, circuits_solved=table.Measured(16.0, 0.0)).superposition
    assert replace(verdict, circuits_solved=table.Measured(17.0, 0.0)).superposition
    assert not replace(verdict, circuits_solved=table.Measured(17.0, 0.6)).superposition
    assert not replace(verdict, accuracy=table.Measured(0.75, 0.001)).superposition
    assert replace(verdict, accuracy_dedicated=None).superposition
    assert "does not compute" in replace(verdict, circuits_solved=table.Measured(9.0, 0.0)).sentences()[0]


def test_a_better_baseline_turns_what_the_loss_says_and_not_the_verdict(superposed: pd.DataFrame) -> None:
    better = superposed.copy()
    better.loc[(better["quantity"] == "baseline_loss") & (better["method"] == "affine"), "value"] = 0.15
    verdict = superposition_verdict(better)
    assert verdict is not None
    assert verdict.trained.best_baseline == "affine"
    assert not verdict.trained.below
    assert verdict.superposition


def test_a_net_without_these_rows_gets_no_verdict(superposed: pd.DataFrame) -> None:
    for missing in ("loss", "baseline_loss", "circuits_solved"):
        assert superposition_verdict(superposed.loc[superposed["quantity"] != missing]) is None
    dedicated = (superposed["quantity"] == "circuits_solved") & (superposed["method"] == "dedicated")
    assert superposition_verdict(superposed.loc[~dedicated]) is None
    assert superposition_verdict(frame([])) is None


def test_a_run_without_ablations_has_a_verdict_without_ratios(superposed: pd.DataFrame) -> None:
    verdict = superposition_verdict(superposed.loc[superposed["quantity"] != "ablation_effect"])
    assert verdict is not None
    assert verdict.superposition
    assert verdict.circuits_per_unit is None
    assert not any("participation" in said for said in verdict.sentences())


def test_over_training(superposed: pd.DataFrame) -> None:
    found = superposition_over_training(superposed)
    assert set(found["quantity"]) == {
        *("circuits_solved", "loss_ratio", "accuracy", "circuits_per_unit", "units_per_circuit")
    }
    solved = found.loc[found["quantity"] == "circuits_solved"]
    assert solved["step"].tolist() == list(STEPS)
    assert solved["value"].tolist()[0] == 0
    assert solved["value"].tolist()[-1] == 32
