"""The page."""

import html.parser
import json
import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from llc_lightning.report.html import page, write_report
from llc_lightning.report.panel import Matrix
from llc_lightning.report.sections import find, sections
from llc_lightning.report.source import Source
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import StoreError
from tests.analysis.synthetic import SyntheticRun

VOID = {"meta", "br", "hr", "img", "input", "link", "path", "use", "stop"}


class Reader(html.parser.HTMLParser):
    """Collects the text and addresses of a page, and checks that its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        named = dict(attrs)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.loads += [named[name] or "" for name in ("src", "href") if name in named]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def text(source: Source, control: Source) -> str:
    return page(source, control=control)


def test_the_page_loads_nothing_and_forbids_it(text: str) -> None:
    assert "default-src 'none'" in text
    reader = read(text)
    assert all(address.startswith("#") for address in reader.loads)
    assert len(reader.ids) == len(set(reader.ids))
    assert {address[1:] for address in reader.loads} <= set(reader.ids)


def test_it_says_the_verdicts_the_curve_and_the_health(text: str) -> None:
    said = " ".join("".join(read(text).text).split())
    for sentence in (
        "At step 3000 the net computes in superposition: it solves 12 of 12 circuits",
        "At step 3000 the net computes in superposition: it solves 8 of 12 circuits",
        "In error^2 / q, which it was trained on,",
        "one curve of n_beta x zero-ablation effect, here from",
        "replicates of wrLLC correlate with +0.",
        "the weight norm alone with +0.",
        "The full LLC is ok from step 805 on.",
        "Measuring took 96 s, 64 % of the run's 150 s.",
        "Farthest off the curve is net.hook_hidden[8] at step 155",
        "wrLLC ~ its replicate",
        "not-a-minimum",
        "loss_power",
        "seeds.seed_everything",
    ):
        assert sentence in said, sentence


def test_every_figure_has_its_data(text: str, source: Source, control: Source) -> None:
    (data,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert "<" not in data, "nothing in the data can end its script"
    figures = json.loads(data)
    places = re.findall(r'data-figure="([^"]+)"', text)
    assert sorted(places) == sorted(figures)
    shown = sections(source.found, source.logged, control=(control.found, control.logged))
    assert len(places) == sum(map(len, shown.values()))


def test_a_unit_can_be_followed(text: str) -> None:
    assert text.count("<option") == 13
    assert '<option value="net.hook_hidden[11]">' in text


def test_static_pages_have_no_script(young: Source) -> None:
    static = page(young, static=True)
    assert "<script" not in static
    assert static.count("<svg") == static.count('class="card') - static.count('id="table-')
    assert len(static) < 3_000_000


def test_no_figure_stands_beside_nothing(text: str, source: Source, control: Source) -> None:
    shown = sections(source.found, source.logged, control=(control.found, control.logged))
    for panels in shown.values():
        wide = [f'class="card wide" id="figure-{panel.name}"' in text for panel in panels]
        beside = [len(list(row)) for is_wide, row in groupby(wide) if not is_wide]
        last = panels[-1]
        assert all(number % 2 == 0 for number in beside[: -1 if isinstance(last, Matrix) and last.narrow else None])
        assert [one for one, panel in zip(wide, panels, strict=True) if panel.wide] == [True] * sum(
            p.wide for p in panels
        )


def test_hostile_names_are_text(source: Source) -> None:
    evil = "</script><script>alert(1)</script>"
    table = SyntheticRun(units=12, circuits=2, steps=(0, 30, 300, 3000)).table()
    table["component"] = table["component"].str.replace("net.", evil, regex=False)
    table["params_moved"] = table["params_moved"].str.replace("net.", evil, regex=False)
    hostile = replace(source, found=find(table, run=evil), config={evil: {evil: evil}})
    text = page(hostile)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    read(text)


def test_a_young_run_has_a_page(young: Source) -> None:
    text = page(young)
    said = " ".join("".join(read(text).text).split())
    assert "No value of the full LLC is ok (3 measured); most often not-a-minimum" in said
    assert "The full LLC is not ok at any step." in said
    assert "The full LLC is not ok at the last step." in said


def test_three_units_are_too_few_for_ranks_and_have_a_page(source: Source) -> None:
    few = page(replace(source, found=find(SyntheticRun(units=3, circuits=2).table(), run="few")))
    said = " ".join("".join(read(few).text).split())
    assert "the rank correlation undefined over 3 pairs" in said
    assert not re.search(r"\bnan\b", said.lower())


def test_it_is_written_where_asked(young: Source, elsewhere: Path) -> None:
    assert write_report(young, out=elsewhere) == elsewhere
    assert elsewhere.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_same_run_gives_the_same_page(source: Source, text: str, control: Source) -> None:
    assert page(source, control=control) == text


def test_a_run_without_measurements_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("")
    with pytest.raises(StoreError, match=r"no measurements yet.*llc-lightning analyze measure"):
        Source.of(Run.open(tmp_path))


def test_a_place_that_cannot_be_written_is_named(young: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/page\.html cannot be written: .*--out"):
        write_report(young, out=tmp_path / "file" / "page.html")
