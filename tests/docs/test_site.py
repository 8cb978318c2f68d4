"""The site: every page has a place in it, and every public name stands on the page of the API."""

import re
from pathlib import Path

import llc_lightning

ROOT = Path(__file__).parents[2]
OLDER = {"Part"}  # which the page names as such


def test_every_page_and_notebook_has_a_place() -> None:
    docs = ROOT / "docs"
    pages = {
        path.relative_to(docs).with_suffix(".md").as_posix()
        for end in ("md", "ipynb")
        for path in docs.rglob(f"*.{end}")
    }
    listed = re.findall(r"([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(pages)


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    told = re.findall(
        r"^::: llc_lightning\.(\w+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(told) == sorted(set(llc_lightning.__all__) - OLDER)
