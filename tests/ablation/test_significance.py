"""Intervals and p-values under the null and away from it."""

import math

import numpy as np
import pytest

from llc_lightning import ablation_effects
from llc_lightning.ablation.significance import LEVEL, adjust, bootstrap_interval, sign_flip_p
from tests.ablation.nets import Circuits, circuits_data

SIMULATIONS = 500


def test_type_one_error() -> None:
    draw = np.random.default_rng(0)
    values = draw.standard_t(5, size=(SIMULATIONS, 30))
    rejected = sum(sign_flip_p(one, resamples=199, seed=seed) <= 0.05 for seed, one in enumerate(values))
    assert 0.03 <= rejected / SIMULATIONS <= 0.07


def test_intervals_cover_as_often_as_they_say() -> None:
    draw = np.random.default_rng(4)
    values = draw.standard_t(5, size=(SIMULATIONS, 200))
    found = [bootstrap_interval(one, resamples=999, seed=seed) for seed, one in enumerate(values)]
    covered = sum(low <= 0 <= high for low, high in found) / SIMULATIONS
    # The share in so many simulations is binomial: within three standard errors of the level.
    assert abs(covered - LEVEL) <= 3 * math.sqrt(LEVEL * (1 - LEVEL) / SIMULATIONS)
    # Those that miss miss on both sides.
    above, below = sum(low > 0 for low, _ in found), sum(high < 0 for _, high in found)
    assert abs(above - below) <= 3 * math.sqrt(above + below)


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
