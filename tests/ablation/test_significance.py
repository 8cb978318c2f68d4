"""Intervals and p-values under the null and away from it."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.significance import LEVEL, Statistics, adjust, studentised, with_statistics
from llc_lightning.runtime.errors import SettingError
from tests.ablation.nets import Circuits, circuits_data

SIMULATIONS = 500


def effect(values: np.ndarray) -> Effect:
    """Returns an effect with these values per example."""
    told = torch.from_numpy(values)
    stderr = float(told.std() / len(told) ** 0.5)
    return Effect("ablation_effect", value=float(told.mean()), stderr=stderr, n=len(told), per_example=told)


def statistics(values: np.ndarray, *, resamples: int = 999) -> list[Statistics]:
    """Returns those of effects, one in a row."""
    return studentised([effect(one) for one in values], resamples=resamples, seed=0)


def lognormal(draw: np.random.Generator, n: int) -> np.ndarray:
    return np.exp(draw.normal(size=(SIMULATIONS, n))) - math.exp(0.5)


def exponential(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.exponential(size=(SIMULATIONS, n)) - 1


def heavy(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.standard_t(5, size=(SIMULATIONS, n))


@pytest.mark.parametrize(("make", "n"), [(heavy, 100), (exponential, 100), (lognormal, 200)])
def test_p_values_and_intervals_keep_their_level(make: object, n: int) -> None:
    assert callable(make)
    found = statistics(make(np.random.default_rng(0), n))
    # The share in so many simulations is binomial: within three standard errors of the level.
    near = 3 * math.sqrt(LEVEL * (1 - LEVEL) / SIMULATIONS)
    assert abs(sum(one.p <= 1 - LEVEL for one in found) / SIMULATIONS - (1 - LEVEL)) <= near
    assert abs(sum(one.low <= 0 <= one.high for one in found) / SIMULATIONS - LEVEL) <= near


def test_one_unit_among_nulls_is_found_however_many_they_are() -> None:
    draw = np.random.default_rng(1)
    values = draw.normal(size=(512, 400))
    values[7] += 15 / math.sqrt(400) - values[7].mean()
    told = with_statistics([effect(one) for one in values], resamples=999, seed=0)
    adjusted = [float(one.details["p_adjusted"]) for one in told]
    assert adjusted[7] < 1e-9
    assert sum(p < 0.05 for p in adjusted) <= 3


def test_the_tail_goes_on_from_where_the_resamples_end() -> None:
    values = np.random.default_rng(2).exponential(size=200) - 1
    sized = [values - values.mean() + t * values.std(ddof=1) / math.sqrt(200) for t in np.linspace(0.5, 8, 60)]
    p = [one.p for one in statistics(np.stack(sized))]
    assert all(later <= earlier for earlier, later in itertools.pairwise(p))
    ratios = [earlier / later for earlier, later in itertools.pairwise(p)]
    assert max(ratios[:30]) < 4  # no jump where counting ends


def test_an_effect_has_the_same_bits_alone_and_beside_others() -> None:
    values = np.random.default_rng(3).normal(0.1, 1, size=(150, 90))
    together = statistics(values, resamples=199)
    assert [statistics(values[i : i + 1], resamples=199)[0] for i in (0, 63, 64, 149)] == [
        together[i] for i in (0, 63, 64, 149)
    ]


def test_many_examples_take_students_distribution() -> None:
    values = np.random.default_rng(1).normal(0.02, 1, size=5000)
    (found,) = statistics(values[None], resamples=99)
    t = values.mean() / (values.std(ddof=1) / math.sqrt(5000))
    assert found.p == pytest.approx(math.erfc(abs(t) / math.sqrt(2)), rel=2e-2)
    assert found.high - found.low == pytest.approx(2 * 1.9604 * values.std(ddof=1) / math.sqrt(5000), rel=1e-3)


def test_no_effect_at_all() -> None:
    (found,) = statistics(np.zeros((1, 50)), resamples=99)
    assert (found.low, found.high, found.p) == (0, 0, 1)
    assert adjust([0.01, math.nan, 0.04])[:1] == [0.02]


def test_what_has_no_error_is_left_as_it_is() -> None:
    one = replace(effect(np.ones(2)), stderr=math.nan, status="one-example")
    assert with_statistics([one], resamples=99, seed=0) == [one]
    with pytest.raises(SettingError):
        with_statistics([one], resamples=9, seed=0)


def test_the_table_tells_them() -> None:
    table = ablation_effects(Circuits(), circuits_data(80), methods=["zero", "mean", "resample"], resamples=99)
    train = table[table["loss"] == "train"]
    assert (train["low"] <= train["value"]).all()
    assert (train["value"] <= train["high"]).all()
    assert (train["p_adjusted"] >= train["p"]).all()
    assert table[table["loss"] != "train"]["p"].isna().all()
