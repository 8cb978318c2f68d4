"""Stages of curves whose stages are known."""

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.stages import Stage, beaten_baselines, grokking, stages, transition
from llc_lightning.runtime.errors import DataError

STEPS = np.arange(0, 2001, 25)


def curve(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"step": STEPS, "value": values})


def falling(middle: float, width: float, high: float = 3.5, low: float = 0.1) -> pd.DataFrame:
    return curve(low + (high - low) / (1 + np.exp((STEPS - middle) / width)))


def test_a_transition_is_found_where_it_is() -> None:
    begins, half, ends = transition({"train/loss": falling(412, 30)})
    assert (half.since, half.step) == (400, 425)
    # A logistic curve has done 10 % of its fall log(9) widths before its middle.
    assert begins.since <= 412 - 30 * np.log(9) <= begins.step
    assert ends.since <= 412 + 30 * np.log(9) <= ends.step
    assert half.sides([0, 100, 400, 410, 425, 900]) == (3, 2)


def test_noise_and_single_outliers_are_no_stage() -> None:
    loss = falling(800, 40)
    loss["value"] += np.random.default_rng(0).normal(0, 0.1, len(STEPS))
    loss.loc[4, "value"] = 0.0
    half = transition({"train/loss": loss})[1]
    assert half.since <= 850
    assert half.step >= 750


def test_a_loss_that_hardly_falls_has_no_transition() -> None:
    assert transition({"train/loss": falling(400, 30, high=3.5, low=2.5)}) == []
    assert transition({"train/accuracy": falling(400, 30)}) == []
    assert transition({"val/loss": falling(400, 30)})[1].metric == "val/loss"


def test_memorising_comes_before_generalising_in_grokking() -> None:
    train, validation = 1 - falling(200, 20, 1, 0)["value"], 1 - falling(1200, 50, 1, 0)["value"]
    memorised, generalised = grokking({"train/accuracy": curve(train), "val/accuracy": curve(validation)})
    assert (memorised.name, generalised.name) == ("memorised", "generalised")
    # 0.99 is log(99) widths after the middle.
    assert memorised.since <= 200 + 20 * np.log(99) <= memorised.step
    assert (generalised.since, generalised.step) == (1175, 1200)
    assert grokking({"train/accuracy": curve(train)}) == []
    never = grokking({"train/accuracy": curve(train), "val/accuracy": curve(validation * 0.4)})
    assert [stage.name for stage in never] == ["memorised"]
    assert grokking({"train/accuracy": curve(validation), "val/accuracy": curve(validation)}) == []
    rare = curve(validation)[curve(validation)["step"].isin([0, 1000, 2000])]
    fresh = {"train/accuracy": curve(validation), "val/accuracy": rare}
    assert grokking(fresh) == [], "it is not seen to generalise later"


def test_baselines_are_beaten_in_their_order() -> None:
    metrics = {"val/loss": falling(500, 200, 4.2, 1.8)}
    levels = {"unigram": 3.35, "bigram": 2.48, "trigram": 2.05, "best": 1.0}
    metrics |= {f"baseline/{name}": pd.DataFrame({"step": [500], "value": [level]}) for name, level in levels.items()}
    found = beaten_baselines(metrics)
    assert [stage.name for stage in found] == ["beats unigram", "beats bigram", "beats trigram"]
    for stage, level in zip(found, levels.values(), strict=False):
        values = dict(zip(STEPS.tolist(), metrics["val/loss"]["value"], strict=True))
        assert values[stage.since] > level >= values[stage.step]


def test_all_stages_come_in_the_order_of_steps() -> None:
    metrics = {"train/loss": falling(400, 30), "val/loss": falling(400, 30), "baseline/uniform": curve(0 * STEPS + 3.4)}
    found = stages(metrics)
    assert [stage.step for stage in found] == sorted(stage.step for stage in found)
    assert {stage.name for stage in found} >= {"transition half", "beats uniform"}


def test_points_that_are_no_numbers_hide_no_stage() -> None:
    whole = falling(400, 30)
    holes = whole.copy()
    holes.loc[[3, 20], "value"] = [float("nan"), float("inf")]
    assert [one.name for one in transition({"train/loss": holes})] == [
        one.name for one in transition({"train/loss": whole})
    ]
    assert stages({"train/loss": pd.DataFrame({"step": [0, 1], "value": [float("nan")] * 2})}) == []


def test_a_level_that_is_passed_from_the_first_point_on() -> None:
    found = beaten_baselines({"val/loss": falling(400, 30), "baseline/easy": curve(0 * STEPS + 9.0)})
    assert found == [Stage("beats easy", "val/loss", 9.0, 0, 0)]
    assert found[0].sides([0, 10, 20]) == (0, 3), "nothing is known of what lies before"


def test_a_curve_without_steps_is_refused() -> None:
    with pytest.raises(DataError, match="give step and value"):
        stages({"val/loss": pd.DataFrame({"value": [1.0]})})
