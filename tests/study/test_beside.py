"""The tables beside the answers: leads, peaks, what changes are held against, and errors held to a repeat."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.across import Measurements
from llc_lightning.analysis.phases import Led, Phase
from llc_lightning.results.schema import RAW
from study.beside import beside, controls, leads, peaks, repeats, scrubbed

PLAIN = {
    **{"run": "r", "seed": 0, "step": 10, "stderr": 1.0, "unit": "", "status": "ok", "component": "", "kind": ""},
    **{"method": "", "loss": "train", "params_moved": "", "replicate": 0, "chains": 4, "draws": 9, "n_beta": 100.0},
    **{"gamma": 10.0, "n_examples": 8, "revision": 1, "weights": RAW, "details": "{}"},
}


def run(*rows: Mapping[str, object], net: str = "net", seed: int = 0) -> Measurements:
    return Measurements(f"{net}-{seed}", net, pd.DataFrame([{**PLAIN, "seed": seed, **row} for row in rows]))


def changed(head: int, value: float, **more: object) -> dict[str, object]:
    address = f"net.hook_z[{head}]"
    told = {"quantity": "llc_shift", "component": address, "kind": "head", "method": "zero", "value": value}
    return {**told, "params_moved": address, **more}


def own(head: int, value: float, **more: object) -> dict[str, object]:
    return changed(head, value, quantity="llc", method="", **more)


def test_changes_are_held_to_those_of_the_same_seed_measured_again() -> None:
    first = run(changed(0, 2.0, stderr=3.0), changed(1, 1.0, stderr=3.0), changed(2, 9.0))
    other = run(changed(0, 50.0), changed(1, 70.0), seed=1)
    again = run(
        changed(0, 12.0, stderr=4.0),
        changed(1, 1.0, stderr=4.0),
        changed(2, 99.0, status="not-local"),
        net="net (again: more)",
    )
    (row,) = repeats([first, other, again]).records()
    assert row["net"] == "net (again: more)"
    assert row["what"] == "changes by ablation, beside the first"
    assert row["pairs"] == "2"
    assert row["chi squared"] == "4.0"  # differences of 10 and 0 by errors of 5
    assert row["apart"].startswith("1.41 [")
    assert row["by chance"] == "0.14"  # exp(-4 / 2)
    assert row["largest"] == "2.0"


def test_replicates_of_the_last_step_are_held_to_one_another() -> None:
    early = (own(0, 100.0, step=1, replicate=0), own(0, 0.0, step=1, replicate=1))
    (row,) = repeats([run(*early, own(0, 1.0), own(0, 1.0, replicate=1), own(1, 5.0))]).records()
    assert (row["what"], row["pairs"], row["chi squared"]) == ("wrLLC, replicates", "1", "0.0")


def test_leads_are_counted_by_side_and_those_that_could_not_be_seen() -> None:
    when = Phase(step=10.0, low=9.0, high=11.0, farthest=100, since=9, until=11, inside=3)
    seen = [(0.5, 0.4, 0.9), (0.5, 0.3, 1.0), (1.5, 0.4, 2.9), (1.5, 0.4, 3.1), (np.nan, np.nan, np.nan)]
    told = [Led("c", when, when, None, *ends, first=0, left_out=0) for ends in seen]
    (row,) = leads([(run(), one) for one in told]).records()
    assert [*row.values()] == ["net", "net-0", "5", "2", "2", "1", "3"]


def test_a_peak_is_told_with_its_status_and_what_it_falls_to() -> None:
    whole = {"quantity": "llc", "kind": "all", "params_moved": "all"}
    path = [(1, 4.0, "ok"), (2, 50.0, "not-local"), (3, 60.0, "not-local"), (4, 20.0, "ok")]
    one = run(*({**whole, "step": step, "value": value, "status": status} for step, value, status in path))
    (row,) = peaks([one]).records()
    assert row["first"] == "4.0 ± 1.0 (1, ok)"
    assert row["farthest from it"] == "60.0 ± 1.0 (3, not-local)"
    assert row["last"] == "20.0 ± 1.0 (4, ok)"
    assert row["flagged at steps"] == "2, 3"


def test_what_changes_are_held_against_stands_with_the_nearest_resolution() -> None:
    control = {"quantity": "llc_ablated", "value": 40.0, "status": "not-recovered"}
    near = [own(0, 3.0, n_beta=200.0), own(0, 4.0, n_beta=200.0, replicate=1, status="not-mixed")]
    far = [own(0, 70.0, n_beta=1000.0), own(1, 80.0, n_beta=200.0)]
    (row,) = controls([run(changed(0, 1.0), control, *near, *far)]).records()
    assert row["LLC before (status)"] == "40.0 ± 1.0 (not-recovered)"
    assert row["wrLLC of the ablated, every estimate"] == "3 to 4"
    assert (row["at"], row["ok"]) == ("200, 10", "1 of 2")


def test_a_hypothesis_is_told_by_what_any_other_and_the_same_label_cost() -> None:
    by, effect = {"method": "resample(label=period)"}, {"quantity": "ablation_effect", "stderr": 0.1}
    plain = run(changed(0, -9.0, method="resample"), changed(0, -7.0, method="resample", n_beta=10.0))
    other = run(changed(0, -50.0, method="resample"), seed=1)
    early = changed(1, 8.0, method="resample", step=1, **effect)
    costs = (changed(0, 2.0, method="resample", **effect), changed(0, 0.5, **by, **effect))
    none = changed(1, 0.0, **by, **{**effect, "status": "too-few-examples"})
    one = run(early, *costs, none, changed(0, -4.0, **by), net="net (again: scrubbed)")
    first, second = scrubbed([plain, other, one]).records()
    assert [*first.values()] == [
        *("net", "net (again: scrubbed)-0", "net.hook_z[0]", "period", "2.00 ± 0.10", "0.50 ± 0.10"),
        *("-9.0 ± 1.0", "-4.0 ± 1.0"),
    ]
    assert [*second.values()][2:] == ["net.hook_z[1]", "period", "-", "0.00 ± 0.10 (too-few-examples)", "-", "-"]


@pytest.mark.parametrize("rows", [(own(0, 1.0),), (changed(0, 1.0),)])
def test_a_table_without_rows_is_left_out(rows: tuple[dict[str, object], ...]) -> None:
    assert {one.name for one in beside([run(*rows)])} <= {"controls"}
