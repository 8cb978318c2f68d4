"""The table of truth: its exact values, one estimate of each group, its verdicts, and what it says of earlier runs."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.truth import command, coverage, table
from benchmarks.truth.collection import all_cases, chosen
from benchmarks.truth.estimates import REFUSED, Row, Verdict, columns, estimate, estimated, to_plain
from benchmarks.truth.gibbs import sampled
from benchmarks.truth.linear_networks import NETWORKS, REMOVED
from llc_lightning.exact import reduced_rank_value

EARLIER = Path(command.__file__).parents[1] / "results" / "truth-6996717.json"
SAMPLE = (
    "catalogue: quadratic, round",
    "known failures: (w1 + .. + w10)^2 / 2, n_beta 100",
    "slow directions: slow in 2: 1, 1e-2",
    "rank-deficient: 4 of rank 2",
    "sums: (w1 - w2)^2 / 2",
    "valleys: banana at angles",
    "kinks: |w|, n_beta 100",
    "kinks diluted: |w| + 5 regular at angles, n_beta 1000",
    "minibatches: noise: Gaussian of 0.3, batch 16",
    "crossings: (w1 w2)^2, n_beta 1000",
    "linear networks: 2 1 2 of 1",
)
WELL = "out of reach: a flatter well at 4"
AGAIN = [name for name, case in all_cases().items() if case.again is not None]
FEWEST = {
    "slow directions": 10, "valleys": 8, "kinks": 10, "kinks diluted": 5, "minibatches": 12, "crossings": 12,
    "sums": 6, "rank-deficient": 6, "linear networks": 12,
}  # fmt: skip


def row(value: float = 1.0, stderr: float = 0.1, status: str = "ok", *, case: str = SAMPLE[0], seed: int = 0) -> Row:
    """Returns an estimate of a case whose exact value is 1."""
    return Row(case, "lm", seed, 1.0, 0.0, value, stderr, value - 2 * stderr, value + 2 * stderr, status, 0.5)


def test_there_are_enough_cases_of_each_group() -> None:
    groups = [case.group for case in all_cases().values()]
    assert {group: groups.count(group) >= fewest for group, fewest in FEWEST.items()} == dict.fromkeys(FEWEST, True)
    assert {all_cases()[name].group for name in (*SAMPLE, WELL)} == set(groups)


@pytest.mark.parametrize("name", [name for name in AGAIN if all_cases()[name].group != "linear networks"])
def test_exact_values_come_out_the_same_another_way(name: str) -> None:
    case = all_cases()[name]
    assert case.again is not None
    assert case.exact == pytest.approx(case.again(), rel=1e-6)


@pytest.mark.parametrize("name", ["2 1 2 of 1", "4 4 4 of 2", "4 2 2 4 of 2"])
def test_stored_values_of_linear_networks_are_those_of_a_short_gibbs_sampling(name: str) -> None:
    network = NETWORKS[name]
    at = {"n_beta": network.n_beta, "gamma": network.gamma}
    found = sampled(network.weights(), **at, chains=32, sweeps=100, burn_in=200, seed=1)
    assert abs(found.value - network.value) <= 4 * math.hypot(found.error, network.error)
    assert found.error < 0.02 * network.value


def test_gibbs_sampling_meets_the_exact_value_at_rank_0() -> None:
    at, start = {"n_beta": 100.0, "gamma": 10.0}, [torch.zeros(2, 2).double()] * 2
    found = sampled(start, **at, chains=64, sweeps=300, burn_in=50)
    assert abs(found.value - reduced_rank_value(2, 2, 2, **at)) <= 3 * found.error
    assert found.error < 0.01 * found.value


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.gamma >= 100])
def test_stored_values_of_linear_networks_are_near_the_formula_where_the_localisation_is_strong(name: str) -> None:
    network = NETWORKS[name]
    if not math.isnan(network.formula()):
        assert network.value == pytest.approx(network.formula(), rel=0.01)


def test_every_pair_of_networks_differs_by_a_unit() -> None:
    for whole, less in ((NETWORKS[one], NETWORKS[other]) for one, other in REMOVED):
        assert whole.widths[1] - less.widths[1] == 1
        assert replace(whole, widths=less.widths, value=less.value, error=less.error) == less


@pytest.mark.parametrize("name", SAMPLE)
def test_one_estimate_of_each_group_is_not_silently_wrong(name: str) -> None:
    found = estimate(name, "lm", 0)
    assert found.verdict is not Verdict.SILENT
    assert found.exact == all_cases()[name].exact


def test_lengths_are_given_in_place_of_the_defaults() -> None:
    short, usual = (estimate(SAMPLE[0], "lm", 0, settings) for settings in ({"draws": 8, "chains": 4}, {}))
    assert short.status == "too-few-draws"
    assert short.stderr > usual.stderr


def test_the_cases_of_the_coverage_are_of_every_kind_and_one_covers() -> None:
    groups = [all_cases()[name].group for name in coverage.CASES]
    assert len(set(groups)) >= 8
    assert groups.count("minibatches") >= 6
    (found,) = coverage.coverages(coverage.CASES[:1], sets=40)
    assert 0.7 <= found.covered <= 1  # five errors below .9
    assert found.mean == pytest.approx(found.exact, rel=0.05)
    assert found.stderr == pytest.approx(found.spread, rel=0.5)
    assert set(found.statuses) == {"ok"}


def test_a_set_of_chains_is_the_estimate_of_its_replicate() -> None:
    case = all_cases()[coverage.CASES[0]]
    settings = {"step_size": 1e-3, "draws": 20, "burn_in": 10}
    values, errors = coverage.values_and_errors(coverage.estimate(case, chains=16, **settings), sets=2)
    alone = [coverage.estimate(case, chains=8, replicate=replicate, **settings) for replicate in range(2)]
    assert [record.value for record in alone] == list(values)
    assert [record.stderr for record in alone] == list(errors)


def test_what_no_chain_can_see_stands_apart() -> None:
    (found,) = estimated([WELL], ["lm"], 1)
    assert found.verdict is Verdict.SILENT
    assert table.silent([found]) == []
    assert "out of reach" in table.of_groups([found])[-1]


def test_a_sampler_that_refuses_a_case_is_in_no_column() -> None:
    found = estimate("minibatches: noise: Gaussian of 0.3, batch 16", "mala", 0)
    assert found.status == REFUSED
    assert found.verdict is Verdict.REFUSED
    assert table.of_groups([found]) == []
    assert "1 refused" in "\n".join(command.report([found], every_case=False))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (row(), Verdict.RIGHT),
        (row(1.04, 0.001), Verdict.RIGHT),
        (row(1.3, 0.1), Verdict.RIGHT),
        (row(1.3, 0.1, "drifting"), Verdict.FALSE_ALARM),
        (row(1.3, 0.01, "drifting"), Verdict.ALARM),
        (row(math.nan, math.nan, "all-diverged"), Verdict.ALARM),
        (row(1.3, 0.01), Verdict.SILENT),
        (replace(row(1.3, 0.01), error=0.1), Verdict.RIGHT),
    ],
)
def test_a_verdict_needs_both_many_errors_and_much_of_the_value(found: Row, verdict: Verdict) -> None:
    assert found.verdict is verdict


def test_reasons_that_hold_by_their_definition_are_no_false_alarm() -> None:
    displaced = "catalogue: quadratic, displaced by 0.02"
    assert table.said_ok([row(status="not-a-minimum", case=displaced)]) == []
    assert table.said_ok([row(status="not-a-minimum"), row(), row(2.0, 0.01)]) == [False, True]


def test_the_comparison_tells_what_became_silent_and_how_errors_grew() -> None:
    before = [row(2.0, 0.1, "drifting"), row(seed=1), row(2.0, 0.1, seed=2), row(2.0, 0.1, seed=4)]
    now = [row(2.0, 0.1), row(1.0, 0.15, "drifting", seed=1), row(seed=2), row(seed=3), row(2.0, 0.1, seed=4)]
    told = "\n".join(table.against(now, before))
    assert "4 estimates" in told
    assert "flagged before, now SILENT: 1\n    catalogue: quadratic, round [lm], seed 0: 2 +- 0.1 for 1, ok" in told
    assert "ok before and now, and SILENT now: 1" in told
    assert "SILENT before, not now: 1" in told
    assert "right and ok before, flagged now: 1" in told
    assert "x 1.500 (median)" in told


def test_the_change_as_a_unit_is_removed() -> None:
    whole, less = (f"linear networks: {name}" for name in REMOVED[0])
    pair = [replace(row(3.0, 0.3, case=whole), exact=3.5), replace(row(2.0, 0.4, case=less), exact=2.5)]
    (told,) = table.removals(pair)
    assert "1.000 +- 0.500 each for 1.000, within 2 errors 1 of 1" in told


def test_estimates_are_stored_and_printed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = tmp_path / "rows.json"
    rows = [row(), row(math.nan, math.nan, "all-diverged", seed=1)]
    command.store(stored, rows)
    assert to_plain(command.load(stored)) == to_plain(rows)
    assert len(columns()) == len(to_plain(rows)[0])
    assert command.main(["--read", str(stored), "--against", str(stored)]) == 0
    assert "Silently wrong: 0 of 2" in capsys.readouterr().out
    command.store(stored, [row(2.0, 0.01)])
    assert command.main(["--read", str(stored)]) == 1


def test_the_stored_run_of_an_earlier_version_is_of_these_cases() -> None:
    stored = command.load(EARLIER)
    later = {name for name in all_cases() if " of 16384 of " in name or "relu(w) in" in name or "2 in 30" in name}
    assert len(later) == 8
    assert {found.case for found in stored} == set(all_cases()) - later
    away = [abs(found.exact - all_cases()[found.case].exact) / abs(found.exact) for found in stored]
    assert max(away) < 1e-4
    assert len({found.key for found in stored}) == len(stored)


def test_cases_are_chosen_by_a_part_of_their_names_or_a_pattern() -> None:
    assert set(chosen(["rank-deficient", "sums: (w1 - w2)*"])) >= {"rank-deficient: 4 of rank 2", SAMPLE[4]}
    with pytest.raises(SystemExit, match="no case matches nothing; the groups are: catalogue, crossings"):
        chosen(["nothing"])
