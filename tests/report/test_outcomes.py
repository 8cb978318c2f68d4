"""Tables of what was found."""

from llc_lightning.report.outcomes import agreement_table, residual_table, verdict_table
from llc_lightning.report.sections import Findings
from llc_lightning.report.source import Source


def test_the_verdicts_stand_side_by_side(source: Source, control: Source) -> None:
    table = verdict_table([source.found, control.found])
    assert table is not None
    assert table.columns == ("", "cis/version_0", "cis_mse/version_0")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["computes in superposition"] == ("yes", "no")
    assert rows["circuits solved"] == ("12.0 ± 0.4 of 12", "8.0 ± 0.4 of 12")
    assert rows["loss of baseline: dedicated net"] == ("0.502 ± 0.002", "0.502 ± 0.002")


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
