"""What an effect explains of wrLLC beyond n_beta."""

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.collapse import Collapse, collapse
from tests.analysis.synthetic import frame, planted_curve

UNITS = 32


def rows(*, scatter: float, shared: float = 0.0, replicate: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Returns wrLLC on the planted curve of the zero effect, off it by errors of each value and of each rung."""
    draws = np.random.default_rng(seed)
    size = np.exp(draws.normal(-2.0, 0.7, UNITS))
    found = []
    for n_beta in (100.0, 300.0):
        lifted = np.exp(shared * draws.normal(size=2))
        for unit in range(UNITS):
            one = {"component": f"a[{unit}]", "kind": "neuron"}
            here = one | {"quantity": "llc", "params_moved": one["component"], "n_beta": n_beta, "gamma": 1.0}
            true = float(planted_curve(np.array([n_beta * size[unit]]))[0]) * np.exp(scatter * draws.normal())
            for again in (0, 1):
                value = true * lifted[again] * np.exp(replicate * draws.normal())
                found.append(here | {"value": value, "stderr": 0.1, "replicate": again})
    for unit in range(UNITS):
        effect = {"component": f"a[{unit}]", "kind": "neuron", "quantity": "ablation_effect", "stderr": 1e-3}
        found.append(effect | {"method": "zero", "value": size[unit]})
        found.append(effect | {"method": "mean", "value": size[unit] * np.exp(draws.normal())})
    return frame(found)


def by_method(table: pd.DataFrame) -> dict[str, Collapse]:
    return {one.method: one for one in collapse(table)}


def test_a_curve_without_scatter_explains_all() -> None:
    found = by_method(rows(scatter=0.0))
    assert found["zero"].within > 0.99
    assert found["zero"].attainable == pytest.approx(1.0)
    assert found["zero"].behind is None
    assert (found["zero"].points, found["zero"].components) == (2 * UNITS, UNITS)


def test_the_method_that_is_off_explains_less_beyond_the_interval() -> None:
    found = by_method(rows(scatter=0.05))
    assert found["mean"].within < found["zero"].within - 0.1
    assert found["mean"].behind is not None
    assert found["mean"].behind[0] > 0
    assert found["zero"].low < found["zero"].within < found["zero"].high


def test_an_error_that_a_rung_shares_does_not_count() -> None:
    assert by_method(rows(scatter=0.0, shared=0.3, seed=1))["zero"].within > 0.9
    assert by_method(rows(scatter=0.0, shared=0.3, seed=1))["zero"].attainable == pytest.approx(1.0)


def test_errors_of_the_chains_bound_the_share_and_are_told() -> None:
    found = [by_method(rows(scatter=0.0, replicate=0.3, seed=seed))["zero"] for seed in range(6)]
    share, attainable = np.mean([one.within for one in found]), np.mean([one.attainable for one in found])
    assert share == pytest.approx(float(attainable), abs=0.08)
    assert 0.6 < attainable < 0.95
    assert np.mean([one.corrected for one in found]) > 0.93


def test_other_steps_and_failed_points_do_not_enter() -> None:
    table = rows(scatter=0.0)
    later = table.loc[table["quantity"] == "weight_norm"].assign(step=9)
    failed = table.copy()
    failed.loc[failed["component"] == "a[0]", "status"] = "nan-loss"
    assert by_method(pd.concat([table, later]))["zero"] == by_method(table)["zero"]
    assert by_method(failed)["zero"].components == UNITS - 1


def test_nothing_of_too_few_points_or_without_effects() -> None:
    table = rows(scatter=0.0)
    assert collapse(table.loc[table["component"].isin(["a[0]", "a[1]"])]) == []
    assert collapse(table.loc[table["quantity"] == "llc"]) == []


def test_without_a_replicate_nothing_is_known_of_what_is_attainable() -> None:
    table = rows(scatter=0.0).loc[lambda rows: rows["replicate"] == 0]
    (one, _) = collapse(table, gamma=1.0)
    assert np.isnan(one.attainable)
    assert np.isnan(one.corrected)
    assert one.within > 0.99


def test_the_last_step_that_has_points_enough_counts() -> None:
    table = rows(scatter=0.0)
    (one, _) = collapse(pd.concat([table, table.assign(step=9, status="not-mixed")]))
    assert one.step == 0


def test_chance_explains_nothing_of_few_components() -> None:
    shares = []
    for seed in range(12):
        table = rows(scatter=0.0, seed=seed)
        few = table.loc[table["component"].isin([f"a[{unit}]" for unit in range(8)])].copy()
        effects = (few["quantity"] == "ablation_effect").to_numpy()
        few.loc[effects, "value"] = np.random.default_rng(seed).permutation(few.loc[effects, "value"].to_numpy())
        shares.append(by_method(few)["zero"].within)
    assert np.mean(shares) < 0.1


def test_points_that_have_no_logarithm_are_counted_and_ranked() -> None:
    table = rows(scatter=0.0)
    none = table["component"].isin([f"a[{unit}]" for unit in range(8)]) & (table["quantity"] == "ablation_effect")
    table.loc[none, "value"] *= -1
    one = by_method(table)["zero"]
    assert (one.points, one.asked) == (2 * (UNITS - 8), 2 * UNITS)
    assert one.within > 0.95
    assert one.ranked < 0.9
    assert by_method(rows(scatter=0.0))["zero"].ranked == pytest.approx(1.0)
