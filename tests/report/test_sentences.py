"""Sentences derived from numbers."""

from dataclasses import replace

import pandas as pd

from llc_lightning.analysis.correlation import Correlation
from llc_lightning.report.sections import Findings
from llc_lightning.report.sentences import (
    agreement_sentence,
    curve_sentence,
    full_llc_sentences,
    headlines,
    residual_sentence,
    verdict_sentences,
)
from llc_lightning.report.source import Source


def test_the_headlines_of_a_finished_run(source: Source) -> None:
    said = headlines(source.found, time=source.time)
    first = [sentence.split()[0] for sentence in said]
    assert first[:-2] == ["At", "In", "In", "The", "The", "At", "The", "Farthest"]
    assert first[-1] == "Measuring"
    assert all("nan" not in sentence.lower() and sentence.endswith(".") for sentence in said)


def test_a_young_run_says_less(young: Source) -> None:
    said = headlines(young.found)
    assert said[0].startswith("No value of the full LLC is ok (3 measured); most often not-a-minimum (3): ")
    assert said[0].endswith("train longer, lower n_beta, or raise gamma.")
    assert said[1].startswith("No value of the wrLLC of layers is ok")
    assert said[3].startswith("At step 42 the net does not compute in superposition")
    assert "The full LLC is not ok at any step." in said


def test_a_run_of_losses_says_its_health(plain_net: Findings) -> None:
    assert headlines(plain_net) == ["48 of 48 rows are ok, 0 flagged, 0 failed."]


def test_the_verdict_follows_the_numbers(source: Source, control: Source) -> None:
    assert source.found.verdict is not None
    assert control.found.verdict is not None
    mine, other = verdict_sentences(source.found.verdict), verdict_sentences(control.found.verdict)
    assert "computes in superposition: it solves 12 of 12 circuits" in mine[0]
    assert "In error^4 / q, which it was trained on, its loss 0.142 ± 0.004 is 0.284 ± 0.008 of the best" in mine[1]
    assert "it solves 8 of 12 circuits, more than the 6" in other[0]
    assert "In error^2 / q, which it was trained on, its loss 0.528 ± 0.004 is 1.055 ± 0.009 of the best" in other[1]
    assert "In error^4 / q, its loss" in other[2]


def test_the_curve_is_told_beside_what_n_beta_explains_where_there_are_several(found: Findings) -> None:
    curve = found.curve
    assert curve is not None
    curve = replace(curve, n=90, r2_n_beta=0.934, within=0.87, within_last=0.41, residual_sd=0.12, sampling_sd=0.08)
    one_curve = (
        f"one curve of n_beta x zero-ablation effect, here from {curve.span[0]:.2g} to {curve.span[1]:.2g}, explains"
    )
    ending = (
        f"{one_curve} 87 % over training, 41 % at step {curve.last_step} alone. Points lie 12 % off the curve, of "
        "which sampling alone makes 8 %."
    )
    assert curve_sentence(curve) == (
        "The resolution n_beta at which the wrLLC of a neuron is measured explains 93 % of the spread of log wrLLC "
        f"over 90 points. Of the rest, the spread at one n_beta, {ending}"
    )
    single = replace(curve, points=curve.points.assign(n_beta=300.0))
    assert curve_sentence(single) == f"Of the spread of log wrLLC over 90 points {ending}"
    unknown, noisy = (curve_sentence(replace(curve, sampling_sd=error)) for error in (float("nan"), 0.5))
    assert unknown.endswith("Points lie 12 % off the curve.")
    assert noisy.endswith("Points lie 12 % off the curve, no farther than sampling alone takes them.")


def test_an_undefined_correlation_is_said_to_be(found: Findings) -> None:
    nan = float("nan")
    assert found.agreement is not None
    blank = replace(found.agreement, methods={"zero": Correlation(nan, nan, nan, nan, 3)}, reliability=None)
    assert "the rank correlation undefined over 3 pairs." in agreement_sentence(blank, level=0.9)
    few = replace(blank, methods={"zero": Correlation(nan, nan, nan, nan, 1)}, units=1)
    assert "too few neurons have an ok wrLLC (1) for a rank correlation" in agreement_sentence(few, level=0.9)
    bare = replace(found.agreement, methods={})
    assert "no ablation effect to compare" in agreement_sentence(bare, level=0.9)


def test_what_lies_above_and_below_means_different_things(found: Findings) -> None:
    assert found.curve is not None
    one = found.curve.largest_residuals(1)[0]
    assert "redundant" in residual_sentence(one)
    assert "important but simple" in residual_sentence(replace(one, ratio=0.4))


def test_every_resolution_of_the_full_llc_is_told(found: Findings) -> None:
    both = replace(found, rows=beside(found.rows), trajectories=beside(found.trajectories))
    (said,) = full_llc_sentences(both)
    assert said == (
        "The full LLC at n_beta 10000 is 275 ± 4 at step 3000. "
        "The full LLC at n_beta 100 is 137 ± 2 at step 3000. "
        "275 ± 4 (n_beta 10000, gamma 1000) and 137 ± 2 (n_beta 100, gamma 1000) are two resolutions of one landscape: "
        "a direction counts, by a half, where its curvature exceeds gamma / n_beta, which is 0.1 for the first and 10 "
        "for the second, so that more directions count for the first. Compare values at equal n_beta and gamma alone."
    )


def beside(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with those of the whole model at a lower n_beta and half the value beside them."""
    whole = rows.loc[rows["component"] == ""]
    lower = whole.assign(n_beta=100.0, value=whole["value"] / 2, stderr=whole["stderr"] / 2)
    return pd.concat([rows, lower], ignore_index=True)
