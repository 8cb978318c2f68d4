"""Intervals and p-values under the null and away from it."""

import math

import numpy as np
import pytest

from llc_lightning import ablation_effects
from llc_lightning.ablation.significance import adjust, bootstrap_interval, sign_flip_p
from tests.ablation.nets import Circuits, circuits_data


def test_type_one_error_and_coverage() -> None:
    draw = np.random.default_rng(0)
    rejected, covered = 0, 0
    for simulation in range(500):
        values = draw.standard_t(5, size=30)
        rejected += sign_flip_p(values, resamples=199, seed=simulation) <= 0.05
        if simulation < 200:
            low, high = bootstrap_interval(values, resamples=199, seed=simulation)
            covered += low <= 0 <= high
    assert 0.03 <= rejected / 500 <= 0.07
    assert covered / 200 > 0.88


def test_many_examples_take_the_normal_limit() -> None:
    values = np.random.default_rng(1).normal(0.1, 1, size=5000)
    assert sign_flip_p(values, resamples=99, seed=0) == pytest.approx(
        math.erfc(abs(values.sum()) / math.sqrt((values**2).sum()) / math.sqrt(2)), rel=1e-9
    )
    low, high = bootstrap_interval(values, resamples=99, seed=0)
    assert high - low == pytest.approx(2 * 1.959964 * values.std(ddof=1) / math.sqrt(5000), rel=1e-6)


def test_no_effect_at_all() -> None:
    assert sign_flip_p(np.zeros(50), resamples=99, seed=0) == 1
    assert bootstrap_interval(np.zeros(50), resamples=99, seed=0) == (0, 0)
    assert adjust([0.01, math.nan, 0.04])[:1] == [0.02]


def test_the_table_tells_them() -> None:
    table = ablation_effects(Circuits(), circuits_data(80), methods=["zero", "mean"], resamples=99)
    train = table[table["loss"] == "train"]
    assert (train["low"] <= train["value"]).all()
    assert (train["value"] <= train["high"]).all()
    assert (train["p_adjusted"] >= train["p"]).all()
    assert table[table["loss"] != "train"]["p"].isna().all()
