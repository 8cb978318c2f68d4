"""The reference of the LLC: its tables are the registries', and its examples run."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from docs import tables
from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.models.planted import PlantedModel
from llc_lightning.results.quantities import QUANTITIES, Quantity
from llc_lightning.runtime.seeding import generator
from llc_lightning.runtime.status import REASONS, in_order
from llc_lightning.sampling.base import SAMPLERS
from llc_lightning.sampling.observables.base import OBSERVABLES

PAGE = tables.FOLDER / "llc.md"
TEXT = PAGE.read_text(encoding="utf-8")


def names(table: str) -> list[str]:
    """The first cells of a table of the page, without its head."""
    found = re.search(rf"<!-- {table} -->\n(.*?)<!-- /{table} -->", TEXT, re.DOTALL)
    assert found is not None
    return [line.split("|")[1].strip(" `") for line in found[1].splitlines()[2:]]


def test_the_tables_are_up_to_date() -> None:
    assert {page for page in tables.TABLES if tables.written(page) != (tables.FOLDER / page).read_text()} == set(), (
        "run `make docs`"
    )


def test_each_table_holds_every_entry() -> None:
    assert names("reasons") == [reason.name for reason in in_order(REASONS)]
    assert names("samplers") == sorted(SAMPLERS)
    assert names("estimators") == sorted(ESTIMATORS)
    assert names("observables") == sorted(OBSERVABLES)
    assert names("quantities") == sorted(QUANTITIES)


def test_what_is_registered_is_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QUANTITIES, "_known", dict(QUANTITIES._known))
    QUANTITIES.register("ours", summary="Ours.", source="Us 2026")(Quantity("ours", "1", "a|b"))
    assert "| `ours` | 1 | a&#124;b | Us 2026 |\n" in tables.written("llc.md")


def test_a_page_without_a_place_for_a_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llc.md").write_text(TEXT.replace("<!-- /samplers -->", ""))
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"llc\.md has 0 places for the table 'samplers'"):
        tables.written("llc.md")


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    net = PlantedModel()
    made: dict[str, Any] = {"module": net, "data": net.sample(1024, generator(0))}
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), made)  # noqa: S102 - the page's own examples
    assert math.isfinite(made["record"].value)
    assert [record.n_beta for record in made["ladder"]] == [100.0, 300.0]
    assert "slope" in made["ladder"][1].estimates
    assert made["found"].steps <= 3_000
    assert len(made["records"]) == len(made["neurons"])
    assert all(math.isfinite(record.value) for part in made["records"] for record in part)
    assert capsys.readouterr().out.count("\n") == 3
