"""The page over several runs, and what it answers."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from llc_lightning.analysis import table
from llc_lightning.analysis.across import ByRun, Measurements, Over
from llc_lightning.analysis.agreement import Rung
from llc_lightning.analysis.association import Association
from llc_lightning.analysis.collapse import Collapse
from llc_lightning.analysis.correlation import Correlation
from llc_lightning.report.answers.base import by_method
from llc_lightning.report.answers.ordering import ordering
from llc_lightning.report.answers.sharing import sharing
from llc_lightning.report.over_runs import write_over_runs
from llc_lightning.report.panel import Rule
from llc_lightning.runtime.errors import StoreError
from tests.analysis import test_collapse, test_scores, test_shifts
from tests.analysis.test_across import TRUTH


@pytest.fixture(scope="module")
def runs() -> list[Measurements]:
    """Two nets: one of which all but the truth is known, and one with the truth alone."""
    under = table.select(test_shifts.rows(), step=7).assign(step=0)
    curves = [pd.concat([test_collapse.rows(scatter=0.05, seed=seed), under]) for seed in range(2)]
    known = [Measurements(f"one-{seed}", "one <net>", rows) for seed, rows in enumerate(curves)]
    return [*known, Measurements("other", "other", test_scores.rows(), TRUTH)]


@pytest.fixture(scope="module")
def text(runs: list[Measurements], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("over")
    written, _ = write_over_runs(runs, folder / "report.html", commands=["this made it"], export=folder / "files")
    names = {path.name for path in written}
    assert {"report.html", "found.csv", "changes.csv", "within-a-rung.png", "within-a-rung.svg"} <= names
    assert all(path.stat().st_size > 50 for path in written)
    assert pd.read_csv(folder / "files" / "found.csv")["net"].unique().tolist() == ["other"]
    return (folder / "report.html").read_text(encoding="utf-8")


def test_each_question_has_its_verdict_and_what_would_change_it(text: str) -> None:
    for part in (
        "without one neuron the LLC of the re-optimised rest, 50 before, changes by -4 on average",
        "the mean AUROC of wrLLC",
        "the zero effect explains nearly all of wrLLC of neurons within a rung",
        "rank correlation of",
        "no component could be dated by both",
        "this made it",
    ):
        assert part in re.sub("<[^>]*>", "", text)
    assert text.count("What would change it: ") == 5


def test_names_are_escaped_and_nothing_is_loaded(text: str) -> None:
    assert "<net>" not in text
    assert "one &lt;net&gt;" in text
    assert "default-src 'none'" in text


def test_what_was_not_measured_is_told(runs: list[Measurements], tmp_path: Path) -> None:
    _, found = write_over_runs(runs[2:], tmp_path / "report.html", static=True)
    assert "nan" not in found[0].verdict, "of this run there is no LLC before"
    without = replace(runs[2], rows=runs[2].rows.loc[lambda rows: rows["quantity"] != "llc_shift"])
    _, found = write_over_runs([without], tmp_path / "report.html", static=True)
    assert found[0].verdict == "Not measured: no run has the LLC under ablation."
    assert found[4].tables == ()


def test_the_same_runs_give_the_same_page(runs: list[Measurements], tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        write_over_runs(runs, tmp_path / name, static=True)
        pages.append((tmp_path / name).read_text(encoding="utf-8"))
    assert pages[0] == pages[1]


def test_a_place_that_cannot_be_written_is_one_sentence(runs: list[Measurements], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written: .*; choose another place"):
        write_over_runs(runs[2:], tmp_path / "file" / "report.html")


def ordered(net: str, rho: float, corrected: float, resolution: float = 10.0) -> ByRun[Association]:
    """Returns how one run of a net orders its components."""
    rung, whole = Rung(100.0, 10.0, resolution), Correlation(rho, rho, rho, 0.0, 32)
    one = Association("wrLLC", "zero", 9, rung, whole, 1.0, 1.0, corrected, None)
    return ByRun(net, ("wrLLC", "zero", "9", "n_beta 100, gamma 10"), (one,), 3)


def test_what_either_adds_is_told_but_for_errors() -> None:
    nan = float("nan")
    noisy, other, unknown = ordered("noisy", 0.5, 0.98), ordered("other", 0.8, 0.85), ordered("unknown", 0.3, nan)
    assert ordering([noisy, other, unknown], 0.95).verdict.endswith("is what either adds, most in other.")
    assert ordering([other], 0.95).verdict.endswith("is what either adds.")
    assert "either adds" not in ordering([unknown], 0.95).verdict
    assert "either adds" not in ordering([ordered("noisy", 0.5, 1.1)], 0.95).verdict


def test_a_rung_that_is_not_matched_is_in_no_sentence() -> None:
    far = ordering([ordered("far", 0.9, 0.95, 2000.0)], 0.95)
    assert far.verdict.startswith("Not measured")
    at = "far (1 of 3 runs, step 9, n_beta 100, gamma 10)"
    assert far.details == (f"{at}: no matched rung, the nearest has a median n_beta x zero effect of 2e+03.",)
    assert far.panels == ()


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.9, 0.99, "nearly all"),
        (0.5, 0.99, "at least a part"),
        (0.5, 0.8, "a part"),
        (0.1, 0.5, "at most a part"),
        (0.1, 0.99, "an uncertain share"),
        (-0.1, 0.2, "little"),
    ],
)
def test_a_word_is_chosen_by_all_of_its_interval(low: float, high: float, word: str) -> None:
    share = (low + high) / 2
    one = Collapse(9, "neuron", "zero", 24, 64, 12, 0.9, share, low, high, 0.5, 0.9, None)
    found = sharing([ByRun("a", ("neuron", "zero", "9"), (one,), 3)], 0.95)
    assert f"explains {word} in a (1 of 3 runs, 24 of 64 points)" in found.verdict
    assert f"explains {word} of wrLLC of neurons" in found.details[0]
    assert "1 of 3 runs, 24 of 64 points" in found.details[0]


def test_an_interval_of_two_runs_does_not_hide_the_means_of_others() -> None:
    narrow, wide = Over(1.0, 0.5, 1.5, 3), Over(2.0, -600.0, 604.0, 2)
    (panel,) = by_method("n", "t", "l", Rule(0.0, ""), [("a", "zero", narrow), ("b", "zero", wide)])
    assert panel.y.limits == (-0.5, 2.5)
    assert panel.series[0].high is not None
    assert panel.series[0].high.tolist() == [1.5, 604.0]
    (panel,) = by_method("n", "t", "l", Rule(0.0, ""), [("a", "zero", narrow), ("b", "zero", Over(2.0, -1.9, 5.9, 2))])
    assert panel.y.limits is None
    assert by_method("n", "t", "l", Rule(0.0, ""), []) == ()
