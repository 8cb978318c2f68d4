"""How ablations change the LLC."""

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.shifts import shifts
from llc_lightning.runtime.errors import DataError
from tests.analysis.synthetic import frame


def rows() -> pd.DataFrame:
    at = {"n_beta": 300.0, "gamma": 10.0, "stderr": 0.5, "step": 7}
    found = [at | {"quantity": "llc_ablated", "value": 50.0, "kind": ""}]
    for unit, (after, gap, status) in enumerate([(48.0, 0.1, "ok"), (44.0, 0.2, "ok"), (10.0, 9.0, "not-mixed")]):
        one = at | {"component": f"a[{unit}]", "kind": "neuron", "method": "zero", "status": status}
        found.append(one | {"quantity": "llc_ablated", "value": after})
        found.append(one | {"quantity": "llc_shift", "value": after - 50.0})
        found.append(one | {"quantity": "llc_shift", "value": 1e3, "replicate": 1})
        found.append(one | {"quantity": "llc_unrecovered", "value": after - 300.0 * gap})
        found.append(one | {"quantity": "recovery_gap", "value": gap, "stderr": 0.01})
        found.append(one | {"quantity": "recovery_closure", "value": -1.0 - unit})
        found.append(one | {"quantity": "complement_shift", "value": -0.5 - unit, "method": ""})
    found.append(at | {"component": "a[0]", "kind": "neuron", "method": "zero", "quantity": "llc_shift", "step": 3})
    return frame(found)


def test_before_after_and_what_lies_between() -> None:
    (one,) = shifts(rows())
    assert (one.step, one.kind, one.method, one.n_beta, one.gamma) == (7, "neuron", "zero", 300.0, 10.0)
    assert (one.components, one.ok, one.left_out) == (3, 2, ("a[2]",))
    assert one.before.value == 50.0
    assert one.after.value == 46.0
    assert (one.shift.value, one.shift.stderr) == (-4.0, 0.5)
    assert one.spread == pytest.approx(np.sqrt(8.0))
    assert (one.least, one.most) == (-6.0, -2.0)
    assert {name: told.value for name, told in one.single.items()} == {"a[0]": -2.0, "a[1]": -6.0}
    assert {name: told.value for name, told in one.held.items()} == {"a[0]": -0.5, "a[1]": -1.5}
    assert one.recovered.value == pytest.approx(45.0)
    assert one.closure.value == -1.5
    assert one.unrecovered.value == pytest.approx(one.after.value - one.recovered.value)


def test_nothing_without_shifts_and_no_value_where_none_is_ok() -> None:
    assert shifts(rows().loc[lambda table: table["quantity"] != "llc_shift"]) == []
    (one,) = shifts(rows().assign(status="not-mixed"))
    assert one.ok == 0
    assert np.isnan([one.before.value, one.after.value, one.shift.value, one.least, one.most]).all()
    assert one.lower == one.higher == ()


def test_a_shift_is_clear_by_the_interval_of_its_few_chains() -> None:
    table = rows()
    for chains, stderr, lower in ((4, 0.5, 2), (4, 0.7, 1), (2, 0.5, 0), (1, 0.5, 0), (4, np.nan, 1)):
        table["chains"] = chains
        table.loc[(table["quantity"] == "llc_shift") & (table["component"] == "a[0]"), "stderr"] = stderr
        (one,) = shifts(table)
        assert (len(one.lower), one.higher) == (lower, ())


def test_what_is_said_of_the_trained_weights_is_of_the_same_components() -> None:
    table = rows()
    table.loc[(table["component"] == "a[0]") & (table["quantity"] == "recovery_closure"), "status"] = "not-recovered"
    (one,) = shifts(table)
    assert (one.ok, one.closed) == (2, 1)
    assert one.closure.value == -2.0
    assert (one.unrecovered.value, one.recovered.value) == (44.0 - 60.0, pytest.approx(60.0))
    assert one.shift.value == -4.0


def test_a_closure_that_is_missed_counts() -> None:
    table = rows()
    table.loc[table["quantity"] == "recovery_closure", "status"] = "not-closed"
    assert shifts(table) == shifts(rows())


def test_one_component_under_two_settings_is_refused() -> None:
    table = rows()
    with pytest.raises(DataError, match="several settings"):
        shifts(pd.concat([table, table.assign(settings="others")]))
