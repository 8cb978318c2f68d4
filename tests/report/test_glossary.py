"""The words of the report."""

import re

from llc_lightning.report.glossary import TERMS, linked, section, terms_in
from llc_lightning.report.panels.llc import full_llc
from llc_lightning.report.sentences import headlines
from llc_lightning.report.source import Source


def test_every_link_has_a_place_and_every_word_its_own() -> None:
    places = re.findall(r'id="([^"]+)"', section())
    assert "words" in places
    assert len(places) == len(set(places)) == len(TERMS) + 1
    spellings = [spelling for term in TERMS for spelling in (term.name, *term.spelled)]
    assert len(spellings) == len(set(spellings))


def test_terms_are_linked_where_they_stand_first_alone() -> None:
    text = linked("wrLLC <b> and wrLLC at the matched resolution, raw + Delta")
    assert text.count("<a ") == 4
    assert "&lt;b&gt; and wrLLC at the" in text
    assert 'href="#word-matched-resolution"' in text
    assert linked("withdrawn") == "withdrawn"


def test_the_headlines_use_words_that_are_explained(source: Source) -> None:
    figures = [panel.title for panel in full_llc(source.found)]
    used = {term.name for term in terms_in([*headlines(source.found), *figures])}
    assert {"wrLLC", "matched resolution", "Delta", "raw", "flagged", "replicate", "error^4 / q"} <= used
