"""The page over several runs, and what it answers."""

import html
import re
from collections.abc import Mapping, Sequence
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
from llc_lightning.analysis.phases import Dated, Led, Phase
from llc_lightning.analysis.shifts import Shift
from llc_lightning.analysis.table import Measured
from llc_lightning.report.answers.base import by_method
from llc_lightning.report.answers.changes import changes
from llc_lightning.report.answers.leading import leading
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
    found = ordering([noisy, other, unknown], 0.95)
    assert found.verdict.endswith("is what either adds, most in other (1 of 3 runs).")
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
    ("low", "high", "attainable", "word"),
    [
        (0.9, 0.99, 1.0, "nearly all"),
        (0.5, 0.99, 1.0, "at least a part"),
        (0.5, 0.8, 1.0, "a part"),
        (0.1, 0.5, 1.0, "at most a part"),
        (0.1, 0.99, 1.0, "an uncertain share"),
        (-0.1, 0.2, 1.0, "little"),
        (-0.1, 0.2, float("nan"), "little"),
        (0.5, 0.8, 0.9, "at least a part"),
        (0.1, 0.5, 0.55, "an uncertain share"),
        (0.5, 0.8, 0.5, "at least a part"),
        (0.2, 0.9, 0.2, "at least a part"),
        (0.6, 0.9, 0.7, "nearly all"),
    ],
)
def test_a_word_is_chosen_by_all_of_its_interval_against_what_is_attainable(
    low: float, high: float, attainable: float, word: str
) -> None:
    share = (low + high) / 2
    one = Collapse(9, "neuron", "zero", 24, 64, 12, 0.9, share, low, high, 0.5, attainable, None)
    found = sharing([ByRun("a", ("neuron", "zero", "9"), (one,), 3)], 0.95)
    raw = "" if attainable > 0 else ", uncorrected"
    assert f"explains {word} in a (1 of 3 runs, 24 of 64 points{raw})" in found.verdict
    assert f"explains {word} of wrLLC of neurons" in found.details[0]
    assert "1 of 3 runs, 24 of 64 points" in found.details[0]


def test_the_share_of_several_runs_is_corrected_where_all_of_them_have_a_replicate() -> None:
    nan = float("nan")
    for attainable, told in (
        ((0.7, 0.7), "nearly all in a (2 of 2 runs, 48 of 128 points)"),
        ((0.7, nan), "a part in a (2 of 2 runs, 48 of 128 points, uncorrected)"),
    ):
        both = tuple(
            Collapse(9, "neuron", "zero", 24, 64, 12, 0.9, 0.65, nan, nan, 0.5, one, None) for one in attainable
        )
        assert told in sharing([ByRun("a", ("neuron", "zero", "9"), both, 2)], 0.95).verdict


def shifted(method: str, after: Mapping[str, float], *, before: float = 50.0) -> Shift:
    """Returns what a method did to the LLC in one run, of these components, all clear of 0 but one below 1."""
    nan = Measured(float("nan"), float("nan"))
    single = {name: Measured(value, 0.1) for name, value in after.items()}
    lower, higher = (tuple(name for name, value in after.items() if sign * value > 1) for sign in (-1, 1))
    mean = Measured(sum(after.values()) / len(after), 0.1)
    return Shift(
        *(0, "head", method, 100.0, 10.0, len(after) + 1, len(after), Measured(before, 0.1), nan, mean, 4, 1.0, single),
        *(min(after.values()), max(after.values()), lower, higher, 0, nan, nan, nan),
        left_out=("a[left out]",),
    )


def test_what_holding_the_weights_does_stands_beside_what_ablating_does() -> None:
    plain = by_method_of("one", [{"a[0]": -5.0, "a[1]": 1.0}])
    held = {"a[0]": Measured(-3.0, 0.1), "a[1]": Measured(2.0, 0.1)}
    one = changes([with_held(plain[0], held), plain[1]], 0.95)
    whole, singles = one.tables
    told = dict(zip(whole.columns, whole.rows[0], strict=True))
    assert told["weights held alone (A5 - full)"].startswith("-0.5 ")
    assert whole.rows[1][-1] == "no value"
    assert singles.rows[0][-1] == "mean -5.00 ± 0.10, optimal -5.00 ± 0.10, held alone -3.00 ± 0.10"
    rest = "comes of holding the same weights with nothing ablated and {} is left for the ablation"
    assert f"(1 run, of the change by mean -1.0 % {rest.format('-3.0 %')})" in one.verdict
    assert f"clear of 0 by no method, of the change by mean -0.5 {rest.format('-1.5')} (n_beta" in one.details[0]
    assert f"of the change -0.5 {rest.format('-1.5')} (" in changes([with_held(plain[0], held)], 0.95).details[0]


def test_what_holding_the_weights_does_is_of_the_components_of_the_change() -> None:
    two = {"a[0]": -5.0, "a[1]": 1.0}
    (one, _) = by_method_of("one", [two, two])
    some = with_held(one, {"a[0]": Measured(-3.0, 0.1)})
    last = replace(one, found=(some.found[0], one.found[1]))
    for lacks in (some, last):
        found = changes([lacks], 0.95)
        assert found.tables[0].rows[0][-1] == "no value"
        assert "left for the ablation" not in found.verdict + found.details[0]


def with_held(one: ByRun[Shift], held: Mapping[str, Measured]) -> ByRun[Shift]:
    """Returns changes beside which it is known what holding these components' weights does alone."""
    return replace(one, found=tuple(replace(shift, held=dict(held)) for shift in one.found))


def by_method_of(net: str, runs: Sequence[Mapping[str, float]], *, before: float = 50.0) -> list[ByRun[Shift]]:
    """Returns the same changes by two methods, of which one duplicates the other."""
    names = tuple(f"{net}-{at}" for at in range(len(runs)))
    return [
        ByRun(net, ("head", one, "100, 10"), tuple(shifted(one, run, before=before) for run in runs), len(runs), names)
        for one in ("mean", "optimal")
    ]


def test_components_are_counted_once_whatever_the_methods() -> None:
    one, other = {"a[0]": -5.0, "a[1]": -4.0, "a[2]": 0.5}, {"a[0]": -5.0, "a[1]": 6.0, "a[2]": 3.0}
    found = changes(by_method_of("one", [one, other]), 0.95)
    assert "6 of 8 heads with an ok change, 2 runs" in found.details[0]
    assert "3 clearly lower and 2 higher by some method" in found.details[0]
    assert "of them both" not in found.details[0]
    opposed = [*by_method_of("one", [one])[:1], *by_method_of("one", [{"a[0]": 5.0}])[1:]]
    assert "1 of them both" in changes(opposed, 0.95).details[0]
    apart = [*by_method_of("one", [one])[:1], *by_method_of("one", [{f"b[{at}]": 1.0 for at in range(3)}])[1:]]
    assert "6 of 7 heads with an ok change" in changes(apart, 0.95).details[0]


def test_changes_are_told_of_each_net_as_shares_and_by_where_these_are_apart() -> None:
    layers = {"b.0.z[0]": -20.0, "b.0.z[1]": -15.0, "b.1.z[0]": -1.0, "b.1.z[1]": 2.0}
    found = [
        *by_method_of("apart", [layers, layers, {name: value - 0.5 for name, value in layers.items()}]),
        *by_method_of("alone", [{"b.0.z[0]": 5.0, "b.1.z[0]": -5.0}], before=500.0),
        *by_method_of("unknown", [{"b.0.z[0]": 5.0}], before=float("nan")),
    ]
    one = changes(found, 0.95)
    assert one.verdict == (
        "Without one component the LLC of the re-optimised rest changes on average by -17.3 % in apart (3 runs, lower "
        "by every method, single heads by -41.0 to -30.0 % at b.0.z and -3.0 to +4.0 % at b.1.z). Of alone, unknown "
        "there is one run alone, told below."
    )
    assert changes(found[2:], 0.95).verdict == (
        "Without one component the LLC of the re-optimised rest changes on average by +0.0 % in alone (1 run); +5.0 in "
        "unknown (1 run, in units of the LLC, since none before is ok and above 0). One run says nothing of others."
    )
    assert "(those of b.0.z by -20.5 to -15; those of b.1.z by -1.5 to +2)" in one.details[0]


def test_large_shares_are_written_out_and_one_that_lacks_the_llc_before_is_told() -> None:
    large, lacks = ({"a[0]": 1234.0}, {"a[0]": 5.0})
    assert "by +1234.0 % in one (1 run)" in changes(by_method_of("one", [large], before=100.0), 0.95).verdict
    mixed = [by_method_of("one", [lacks])[0], by_method_of("one", [lacks], before=float("nan"))[1]]
    assert "by +5.0 in one (1 run, in units of the LLC, since not every before is ok" in changes(mixed, 0.95).verdict


def test_what_judges_a_change_stands_before_the_rest() -> None:
    (table, _) = changes(by_method_of("one", [{"a[0]": -5.0}]), 0.95).tables
    assert table.columns[4:9] == ("change (A3 - full)", "change in each run", "ok", "runs with ok ones", "closure")
    assert table.records()[0]["ok"] == "1 of 2"
    assert table.records()[0]["LLC before"].startswith("50 [")
    assert table.records()[0]["closure"] == "no value"


def test_one_sided_ratios_are_told_where_most_runs_agree() -> None:
    nan = float("nan")

    def dated(net: str, run: int, ratios: Sequence[float]) -> list[tuple[Measurements, Led]]:
        of, at = Measurements(f"{net}-{run}", net, pd.DataFrame()), Phase(9.0, 8.0, 10.0, 99, 8, 10, 1)
        return [(of, Led(f"a[{unit}]", at, at, at, ratio, 0.5, 2.0, 0, 0)) for unit, ratio in enumerate(ratios)]

    sided, even = [1.1] * 9 + [0.9, nan], [1.1, 0.9] * 5
    found = [
        *(one for run in range(2) for one in dated("later", run, sided)),
        *(one for run, ratios in enumerate((sided, even, sided)) for one in dated("split", run, ratios)),
        *dated("alone", 0, sided),
        *(one for run in range(2) for one in dated("few", run, [0.9])),
        *(one for run in range(3) for one in dated("earlier", run, [0.9] * 4)),
        *dated("earlier", 4, [nan] * 5),
    ]
    none = Measurements("earlier-3", "earlier", pd.DataFrame()), Dated("loss", None, 9, 0, 9, 0)
    assert leading(found, [none], 0.95).verdict == (
        "No lead is resolved in any of 84 components. The ratio of steps, below 1 where the LLC is first, is above 1 "
        "for most components that have one in 2 of 2 runs of later (18 of 20 pooled); above 1 for most components that "
        "have one in 2 of 3 runs of split (23 of 30 pooled); below 1 for most components that have one in 2 of 2 runs "
        "of few (2 of 2 pooled); below 1 for most components that have one in 3 of 5 runs of earlier (12 of 12 "
        "pooled): components of a run share its training, snapshots and "
        "curve, and a misfit of the curve can make that too."
    )
    (led,) = leading(found, [none], 0.95).tables
    assert "joins opposite ends of two of them, and so holds more often than 95 %." in led.note
    assert leading(dated("alone", 0, sided), [], 0.95).verdict == "No lead is resolved in any of 11 components."


def test_the_page_and_every_table_with_brackets_say_what_they_are(text: str) -> None:
    assert "In [ ]: intervals of 95 %, by Student's t over runs (seeds), of one run by" in html.unescape(text)
    for card in re.findall('id="table-(?!measured").*?</div>\\n', text, flags=re.DOTALL):
        cells = re.sub("<p.*?</p>", "", card, flags=re.DOTALL)
        assert "In [ ]: " in card or " [" not in cells


def test_an_interval_of_two_runs_does_not_hide_the_means_of_others() -> None:
    narrow, wide = Over(1.0, 0.5, 1.5, 3), Over(2.0, -600.0, 604.0, 2)
    (panel,) = by_method("n", "t", "l", Rule(0.0, ""), [("a", "zero", narrow), ("b", "zero", wide)])
    assert panel.y.limits == (-0.5, 2.5)
    assert panel.series[0].high is not None
    assert panel.series[0].high.tolist() == [1.5, 604.0]
    (panel,) = by_method("n", "t", "l", Rule(0.0, ""), [("a", "zero", narrow), ("b", "zero", Over(2.0, -1.9, 5.9, 2))])
    assert panel.y.limits is None
    (panel,) = by_method("n", "t", "l", Rule(0.0, ""), [("b", "zero", wide)])
    assert panel.y.limits == (-0.5, 2.5)
    assert by_method("n", "t", "l", Rule(0.0, ""), []) == ()
