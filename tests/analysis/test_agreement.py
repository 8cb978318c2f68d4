"""Agreement of the two views of the units."""

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.agreement import agreement, agreements, rungs
from tests.analysis.synthetic import STEPS, SyntheticRun, frame

UNITS = 12


def planted(
    order: np.ndarray, *, effects: np.ndarray | None = None, norms: np.ndarray | None = None, status: str = "ok"
) -> pd.DataFrame:
    """A table of one step where wrLLC has the given order at n_beta 100, and is reversed at n_beta 1000."""
    effects = np.linspace(0.05, 0.2, UNITS) if effects is None else effects
    rows = []
    for unit in range(UNITS):
        one = {"component": f"a[{unit}]", "kind": "neuron"}
        moved = {**one, "quantity": "llc", "params_moved": f"a[{unit}]", "gamma": 1.0, "stderr": 0.1, "chains": 4}
        rows += [
            {**moved, "n_beta": 100.0, "value": float(order[unit]), "status": status if unit == 0 else "ok"},
            {**moved, "n_beta": 1000.0, "value": -float(order[unit])},
            {**one, "quantity": "ablation_effect", "method": "zero", "value": effects[unit], "stderr": 0.01},
        ]
        if norms is not None:
            rows.append({**one, "quantity": "weight_norm", "value": float(norms[unit])})
    return frame(rows)


def test_the_rung_nearest_ten_decides() -> None:
    found = agreement(planted(np.arange(UNITS)), permutations=99)
    assert found is not None
    assert found.rung.n_beta == 100
    assert found.rung.resolution == pytest.approx(100 * 0.125)
    assert found.methods["zero"].rho == 1
    other = agreement(planted(np.arange(UNITS)), permutations=0, target=200.0)
    assert other is not None
    assert other.rung.n_beta == 1000
    assert other.methods["zero"].rho == -1


def test_a_unit_that_is_not_ok_is_left_out() -> None:
    order = np.arange(UNITS)
    order[0] = 99
    found = agreement(planted(order, status="not-mixed"), permutations=0)
    assert found is not None
    assert (found.units, found.left_out) == (UNITS - 1, 1)
    assert found.methods["zero"].rho == 1
    assert found.methods["zero"].n == UNITS - 1


def test_effect_reliability_is_the_share_that_is_not_error() -> None:
    found = agreement(planted(np.arange(UNITS)), permutations=0)
    assert found is not None
    spread = np.var(np.linspace(0.05, 0.2, UNITS), ddof=1)
    assert found.effect_reliability["zero"] == pytest.approx(1 - 0.01**2 / spread)


def test_weight_norm_stands_beside() -> None:
    norms = np.arange(UNITS)[::-1].astype(float)
    norms[[0, 5]] = norms[[5, 0]]
    found = agreement(planted(np.arange(UNITS), norms=norms), permutations=0)
    assert found is not None
    assert found.norm_llc is not None
    assert found.norm_methods["zero"].rho == found.norm_llc.rho == pytest.approx(-0.825, abs=0.01)
    assert found.partial["zero"].rho == pytest.approx(1)
    bare = agreement(planted(np.arange(UNITS)), permutations=0)
    assert bare is not None
    assert bare.norm_llc is None
    assert bare.partial == {}


def test_a_synthetic_run_agrees_and_repeats(superposed: pd.DataFrame) -> None:
    found = agreement(superposed, permutations=999)
    assert found is not None
    assert found.step == 3000
    assert found.rung.n_beta == 300
    assert list(found.methods) == ["zero", "mean", "resample", "noise"]
    assert found.methods["zero"].rho > 0.75
    assert found.methods["zero"].p == pytest.approx(0.002)
    assert found.reliability is not None
    assert found.reliability.rho > 0.8
    assert found.reliability.n == 32
    assert found.effect_reliability["zero"] > 0.98


def test_only_the_last_snapshot_has_replicates(superposed: pd.DataFrame) -> None:
    earlier = agreement(superposed, step=1118, permutations=0)
    assert earlier is not None
    assert earlier.reliability is None


def test_over_training_only_steps_with_ok_rows_count(superposed: pd.DataFrame) -> None:
    found = agreements(superposed)
    assert [one.step for one in found] == [step for step in STEPS if step >= 150]
    assert all(np.isnan(one.methods["zero"].p) for one in found)


def test_methods_can_be_chosen(superposed: pd.DataFrame) -> None:
    found = agreement(superposed, methods=["mean"], permutations=0)
    assert found is not None
    assert list(found.methods) == list(found.partial) == ["mean"]


def test_without_effects_or_llc_there_is_no_agreement(superposed: pd.DataFrame, control: pd.DataFrame) -> None:
    assert agreement(control) is None
    assert agreement(superposed.loc[superposed["quantity"] == "llc"]) is None
    assert agreement(superposed, step=0) is None
    assert rungs(superposed, step=0) == []
    assert agreements(SyntheticRun(steps=()).table()) == []
