"""The tables of a run: what was found, and how."""

from llc_lightning.analysis.timing import Cost, Timing
from llc_lightning.report.cells import flat_table
from llc_lightning.report.sections import Findings, find
from llc_lightning.report.source import Source
from llc_lightning.report.tables import (
    agreement_table,
    health_table,
    quantity_table,
    residual_table,
    settings_table,
    timing_table,
    trouble_table,
    verdict_table,
)


def test_the_verdicts_stand_side_by_side(source: Source, control: Source) -> None:
    table = verdict_table([source.found, control.found])
    assert table is not None
    assert table.columns == ("", "cis/version_0", "cis_mse/version_0")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["computes in superposition"] == ("yes", "yes")
    assert rows["circuits solved"] == ("12 of 12", "8 of 12")
    fourth, square = rows["loss (error^4 / q)"], rows["loss (error^2 / q)"]
    assert [text.partition(" ±")[0] for text in (*fourth, *square)] == ["0.142", "0.365", "0.756", "0.528"]
    assert ["trained on" in text for text in (*fourth, *square)] == [True, False, False, True]
    assert rows["loss / best baseline (error^4 / q)"][1].startswith("0.730 ± 0.009 (dedicated")
    assert rows["mean accuracy without sharing"] == ("0.7500 ± 0.0010", "0.7500 ± 0.0010")


def test_the_correlations_are_all_there(found: Findings) -> None:
    table = agreement_table(found)
    assert table is not None
    names = [row[0] for row in table.rows]
    assert names[0] == "wrLLC ~ zero-ablation effect"
    assert names[-2:] == ["|w| ~ wrLLC", "wrLLC ~ its replicate"]
    assert len(names) == 3 * 4 + 2
    assert "n_beta 300" in table.note
    assert "p" in table.columns
    assert all(row[3] != "-" for row in table.rows)


def test_residuals_are_listed_farthest_first(found: Findings) -> None:
    table = residual_table(found, 4)
    assert table is not None
    assert len(table.rows) == 4
    assert table.records()[0]["neuron"] == "net.hook_hidden[8]"
    assert float(table.records()[0]["wrLLC / curve"]) > 2


def test_runs_without_rows_have_no_such_tables(plain_net: Findings) -> None:
    assert verdict_table([plain_net]) is None
    assert agreement_table(plain_net) is None
    assert residual_table(plain_net) is None


def test_health_counts_everything(found: Findings) -> None:
    rows = health_table(found).records()
    assert {
        "quantity": "llc",
        "kind": "all",
        "ok": "5",
        "flagged": "11",
        "failed": "0",
        "all ok from step": "805",
    } in rows
    last = rows[-1]
    assert int(last["ok"]) + int(last["flagged"]) + int(last["failed"]) == len(found.rows)


def test_troubles_say_what_to_change(found: Findings) -> None:
    table = trouble_table(found)
    assert table is not None
    reasons = {row["reason"]: row for row in table.records()}
    assert "lower the step size or raise gamma" in reasons["all-diverged"]["what it means and what to change"]
    assert reasons["drifting"]["steps"] == "0 to 58"
    once = trouble_table(find(found.rows.loc[found.rows["step"] == 58], run="once"))
    assert once is not None
    assert {row["steps"] for row in once.records()} == {"58"}


def test_a_healthy_run_has_no_troubles(plain_net: Findings) -> None:
    assert trouble_table(plain_net) is None
    assert settings_table(plain_net) is None


def test_settings_are_given_for_each_kind_and_resolution(found: Findings) -> None:
    table = settings_table(found)
    assert table is not None
    assert [row[:3] for row in table.rows] == [
        ("all", "10000", "1000"),
        *((kind, rung, "10") for kind in ("layer", "neuron") for rung in ("100", "300", "1000")),
    ]
    assert table.records()[0]["worst R-hat"] == "1.010"
    assert table.records()[0]["examples"] == "131072"


def test_costs_are_listed(source: Source) -> None:
    table = timing_table(source.time)
    assert table is not None
    assert table.rows == (("llc", "16", "48.0", "3.00"), ("rest", "16", "48.0", "3.00"))


def test_costs_are_named_in_words() -> None:
    costs = [
        Cost(name, 1, 1.0)
        for name in ("llc-revision=8", "llc-replicate=1-revision=8", "ablation-revision=3", "ablation")
    ]
    table = timing_table(Timing(tuple(costs), 0.0))
    assert table is not None
    assert [row[0] for row in table.rows] == ["llc", "llc, replicate 1", "ablation, revision 3", "ablation"]


def test_quantities_have_units(found: Findings) -> None:
    names = {row[0]: row[1] for row in quantity_table(found).rows}
    assert names["ablation_effect"] == "error^4 / q, error^4"
    assert names["llc"] == "1"
    assert set(names) == set(found.rows["quantity"])


def test_nested_records_become_keys_with_dots() -> None:
    table = flat_table("config", "Configuration", {"llc": {"n_beta": [1, 2], "when": None}, "empty": {}})
    assert table is not None
    assert table.rows == (("llc.n_beta", "[1, 2]"), ("llc.when", "None"), ("empty", "{}"))
    assert flat_table("config", "Configuration", {}) is None
