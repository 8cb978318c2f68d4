"""Scores against effects at the matched resolution."""

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.association import Association, associations
from tests.analysis.synthetic import frame

UNITS = 40


def rows(*, noise: float = 0.0, effect_noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Returns wrLLC, twice, and effects of units whose true sizes are the same, each with an error of its own."""
    draws = np.random.default_rng(seed)
    size = draws.normal(5.0, 1.0, UNITS)
    found = []
    for unit in range(UNITS):
        one = {"component": f"a[{unit}]", "kind": "neuron"}
        for n_beta in (1.0, 2.0, 100.0):
            here = one | {"quantity": "llc", "params_moved": one["component"], "n_beta": n_beta, "gamma": 1.0}
            for replicate in (0, 1):
                value = size[unit] + noise * draws.normal() if n_beta == 2.0 else draws.normal(5.0)
                found.append(here | {"value": value, "stderr": noise, "replicate": replicate})
        effect = size[unit] + effect_noise * draws.normal()
        found.append(one | {"quantity": "ablation_effect", "method": "zero", "value": effect, "stderr": effect_noise})
        found.append(one | {"quantity": "weight_norm", "value": draws.normal(3.0)})
    return frame(found)


def zero(table: pd.DataFrame) -> Association:
    found = associations(table, permutations=199)
    assert found is not None
    assert (found.rung.n_beta, found.rung.gamma) == (2.0, 1.0), "the median of n_beta x effect is 10 at 2"
    one = found.of("wrLLC", "zero")
    assert one is not None
    return one


def test_without_errors_both_order_alike() -> None:
    one = zero(rows())
    assert one.rho.rho == one.corrected == one.reliability == 1.0
    assert (one.rho.low, one.rho.high, one.rho.n) == (1.0, 1.0, UNITS)
    assert one.partial is not None
    assert one.partial.rho > 0.99


def test_what_errors_take_is_given_back() -> None:
    found = [zero(rows(noise=0.6, effect_noise=0.4, seed=seed)) for seed in range(12)]
    plain, corrected = (
        float(np.mean([value(one) for one in found])) for value in (lambda o: o.rho.rho, lambda o: o.corrected)
    )
    # Shares of the true variance are 1 / 1.36 and 1 / 1.16, so that a correlation of .80 is all that there can be.
    assert plain == pytest.approx(0.79, abs=0.05)
    assert corrected == pytest.approx(0.97, abs=0.04)
    assert np.mean([one.rho.low < 0.79 < one.rho.high for one in found]) > 0.7


def test_too_few_components_give_no_pair() -> None:
    few = rows().loc[lambda table: table["component"].isin([f"a[{unit}]" for unit in range(5)])]
    found = associations(few)
    assert found is not None
    assert found.pairs == ()


def test_values_that_are_not_ok_are_left_out() -> None:
    table = rows()
    wrong = (table["component"] == "a[3]") & (table["quantity"] == "llc")
    table.loc[wrong, ["value", "status"]] = [1e6, "not-mixed"]
    assert zero(table).rho.n == UNITS - 1
    assert zero(table).rho.rho == 1.0


def test_nothing_without_a_rung() -> None:
    assert associations(rows().loc[lambda table: table["quantity"] != "llc"]) is None


def test_only_a_rung_near_the_target_is_matched() -> None:
    assert zero(rows()).matched
    far = rows().loc[lambda table: ~table["n_beta"].isin([2.0, 1.0])]
    found = associations(far, permutations=0)
    assert found is not None
    assert found.rung.resolution > 400
    assert not any(one.matched for one in found.pairs)


def test_a_score_of_another_rung_has_no_place() -> None:
    table = rows()
    shift = table.loc[(table["quantity"] == "llc") & (table["n_beta"] == 2.0) & (table["replicate"] == 0)]
    there, here = (shift.assign(quantity="llc_shift", n_beta=n_beta) for n_beta in (100.0, 2.0))
    for added, expected in ((there, False), (here, True)):
        found = associations(pd.concat([table, added]), permutations=0)
        assert found is not None
        assert (found.of("llc_shift", "zero") is not None) == expected


def test_one_large_effect_does_not_make_the_others_reliable() -> None:
    table = rows(effect_noise=2.0)
    large = (table["component"] == "a[0]") & (table["quantity"] == "ablation_effect")
    table.loc[large, "value"] = 1000.0
    assert zero(table).effect_reliability < 0.7
