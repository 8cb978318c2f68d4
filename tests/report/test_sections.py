"""Panels are found by being there: one registered function is a figure of the page, of TensorBoard and of ablate."""

from dataclasses import replace
from pathlib import Path

import pytest

from llc_lightning.cli.ablate import _drawn  # pyright: ignore[reportPrivateUsage]
from llc_lightning.report.events import Logged
from llc_lightning.report.html import page
from llc_lightning.report.panel import Matrix
from llc_lightning.report.panels.other import other
from llc_lightning.report.sections import PANELS, Findings, View, other_quantities, sections
from llc_lightning.report.source import Source
from llc_lightning.report.tensorboard import figures
from llc_lightning.results.quantities import QUANTITIES
from llc_lightning.runtime.errors import SettingError

EMPTY = Logged({}, 0.0)
HEADINGS = [
    *("Complexity against need", "Training", "Learning coefficients", "Ablation effects", "Tasks", "Circuits"),
    "Other quantities",
]


def test_sections_stand_in_their_order() -> None:
    entries = sorted((entry for _, entry in PANELS.items()), key=lambda entry: entry.facts.place)
    headings = list(dict.fromkeys(entry.facts.section for entry in entries))
    assert [heading for heading in headings if heading in HEADINGS] == HEADINGS


def test_a_place_that_is_taken_is_refused() -> None:
    holder = min((entry for _, entry in PANELS.items()), key=lambda entry: entry.facts.place)
    place = holder.facts.place
    with pytest.raises(SettingError, match=rf"^the panel 'mine' has place {place}, which '{holder.name}' has"):
        PANELS.register("mine", summary="my own", section="Tasks", place=place, quantities=())


def test_panels_are_about_registered_quantities() -> None:
    about = {name for _, entry in PANELS.items() for name in entry.facts.quantities} - {"llc_plus_delta"}
    assert about <= set(QUANTITIES)
    assert other_quantities([*about, "b10", "b9"]) == ["b9", "b10"]


def test_a_new_panel_is_drawn_wherever_it_fits(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(PANELS)  # the files that are there come first
    monkeypatch.setattr(PANELS, "_known", dict(vars(PANELS)["_known"]))

    @PANELS.register(
        "mine", summary="my own", section="Tasks", place=55, quantities=("grad_norm",), needs="a run of some kind"
    )
    def mine(view: View) -> list[Matrix | None]:
        values = view.found.curve.fit.knots[None] if view.found.curve else None
        if values is None:
            return [None]
        names = tuple(str(at) for at in range(values.shape[1]))
        return [Matrix("mine", "Mine", "x", "y", ("row",), names, values, "1")]

    assert [panel.name for panel in sections(source.found, EMPTY)["Tasks"]] == ["mine"]
    assert "report/mine" in figures(replace(source))
    assert 'id="figure-mine"' in page(replace(source))
    assert tmp_path / "mine.png" in _drawn(source.found, tmp_path)[0]


def test_what_ablate_cannot_draw_it_names(plain_net: Findings, tmp_path: Path) -> None:
    written, notes = _drawn(plain_net, tmp_path)
    assert not written
    assert sorted(notes) == [
        "agreement-of-methods.png is not drawn: it takes two methods with effects of three components or more.",
        "component-by-method.png is not drawn: it takes two methods on the same examples.",
    ]


def test_a_panel_that_says_what_it_needs_gives_one_figure(
    plain_net: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PANELS, "_known", dict(PANELS._entries))
    PANELS.register("mine", summary="my own", section="Tasks", place=55, quantities=(), needs="a run")(lambda view: [])
    with pytest.raises(SettingError, match=r"^the panel 'mine' says what it needs, and gives 0 figures; give one, or "):
        _drawn(plain_net, tmp_path)


def test_a_panel_without_facts_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^the panel 'mine' does not say section, place, quantities; register it "):
        PANELS.register("mine", summary="my own")


def test_a_quantity_that_was_not_measured_has_no_figure(found: Findings) -> None:
    assert "Other quantities" not in sections(found, EMPTY)
    with pytest.raises(SettingError):
        other(found, "susceptibility")
