"""The study, by two small nets: parts that keep their tables, are made once, and say the same on any number of jobs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from llc_lightning.report.cells import Table
from study.__main__ import TOLD_AGAIN
from study.findings import PAGE, SHOWN, lines, with_tables
from study.parts import PARTS, SMOKE, matters, missing, older, table_of

ROOT = Path(__file__).parents[2]
NETS = [one for one in SMOKE if one.net == "cis"]


def study(*argv: object) -> str:
    command = [sys.executable, "-m", "study", *map(str, argv)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    places = ("--runs", folder / "runs", "--tables", folder / "tables")
    told = study("run", "--smoke", "--only", "cis", "--jobs", 2, *places)
    assert told.splitlines() == ["2 parts to make", "kept smoke-cis-0", "kept smoke-cis-1"]
    return folder


def test_each_part_keeps_a_table_and_is_not_made_again(made: Path) -> None:
    assert missing(NETS, made / "tables") == []
    tables = [table_of(one, made / "tables") for one in NETS]
    assert [table["run"].unique().tolist() for table in tables] == [
        ["smoke-cis-0/version_0"],
        ["smoke-cis-1/version_0"],
    ]
    assert all((table["quantity"] == "llc").any() for table in tables)
    assert study("run", "--smoke", "--only", "cis", "--tables", made / "tables").splitlines() == ["0 parts to make"]


def test_a_table_of_other_settings_is_told(made: Path, tmp_path: Path) -> None:
    assert older(NETS, made / "tables") == []
    for one in NETS:
        told = json.loads((made / "tables" / f"{one.name}.json").read_text(encoding="utf-8"))
        told["asked"] = one.digest if one.seed else "another"
        (tmp_path / f"{one.name}.json").write_text(json.dumps(told), encoding="utf-8")
    assert older(NETS, tmp_path) == [one for one in NETS if not one.seed]


def test_a_part_that_was_cut_off_ends_in_the_same_table(made: Path, tmp_path: Path) -> None:
    # Its run is there with a checkpoint and all measurements, but its table was not kept yet.
    study("run", "--only", "smoke-cis-0", "--smoke", "--runs", made / "runs", "--tables", tmp_path)
    pd.testing.assert_frame_equal(table_of(NETS[0], tmp_path), table_of(NETS[0], made / "tables"))


def test_what_the_tables_say_is_told_with_a_page(made: Path, tmp_path: Path) -> None:
    told = study("tables", "--smoke", "--only", "cis", "--tables", made / "tables", "--out", tmp_path / "page.html")
    assert told.count("What would change it: ") == 5
    assert "| cis | 2 |" in told
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_a_net_that_is_measured_again_is_not_told_as_another(tmp_path: Path) -> None:
    (one,) = (part for part in PARTS if part.name == "induction_complement-0")
    for kind in ("parquet", "json"):
        shutil.copy(ROOT / "study" / "tables" / f"induction-0.{kind}", tmp_path / f"{one.name}.{kind}")
    page = tmp_path / "page.html"
    told = study("tables", "--only", "induction_complement", "--tables", tmp_path, "--out", page)
    assert "| induction (again: complement) | 1 |" in told
    assert "induction_complement " not in told
    assert TOLD_AGAIN in told
    assert TOLD_AGAIN in page.read_text(encoding="utf-8")


def test_the_parts_have_names_of_their_own_and_settings_that_are_there() -> None:
    names = [one.name for one in (*PARTS, *SMOKE)]
    assert len(set(names)) == len(names)
    assert all((ROOT / "study" / f"{name}.yaml").is_file() for one in PARTS for name in one.settings)


def test_what_matters_is_known_of_nets_that_were_made_for_it() -> None:
    known = {one.net: sorted(matters(one).values()) for one in PARTS if one.seed in (0, 11) and matters(one)}
    assert known["induction_strict"] == [False] * 6 + [True] * 2
    assert known["ioi_strict"] == [False] * 5 + [True] * 3
    assert set(known) == {"induction_strict", "ioi_strict", "planted_mixed"}


def test_tables_are_written_into_their_places() -> None:
    head = ("LLC score", "effect", "change (A3 - full)", "ok", "matched", "LLC before (status)", "loss: same label")
    good = ("1", "1 of 2", "yes", "3 (ok)", "1")
    shown, hidden = ("wrLLC", "zero", *good), ("R", "zero", "no value", "0 of 2", "yes", "3 (not-local)", "-")
    incoming = [("wrLLC:in", "zero", *good), ("wrLLC:in", "mean", *good)]
    tables = [Table(name, "", head, (shown, hidden, *incoming)) for name in SHOWN]
    page = "".join(f"Of {name}:\n<!-- {name} -->old<!-- /{name} -->\n" for name in SHOWN)
    first, second, *rest = (lines(Table("", "", head, (row,))).splitlines()[-1] for row in (shown, hidden, *incoming))
    rule = "\n".join(lines(tables[0]).splitlines()[:2])
    written = with_tables(page, tables)
    assert f"<!-- within -->\n\n{rule}\n{first}\n{second}\n{rest[0]}\n{rest[1]}\n\n<!-- /within -->\n" in written
    # Scores and changes that are ok nowhere are not shown, nor all that is held against an effect.
    assert f"<!-- found -->\n\n{rule}\n{first}\n{rest[0]}\n{rest[1]}\n\n" in written
    assert f"<!-- order -->\n\n{rule}\n{first}\n{rest[0]}\n\n" in written
    for name in ("changes", "controls", "scrubbed"):
        assert f"<!-- {name} -->\n\n{rule}\n{first}\n{rest[0]}\n{rest[1]}\n\n" in written
    # What stands around the tables stays, and each mark is closed.
    for name in SHOWN:
        assert f"Of {name}:\n<!-- {name} -->\n\n" in written
        assert f"\n<!-- /{name} -->\n" in written
    assert with_tables(written, tables) == written
    with pytest.raises(ValueError, match="<!-- found --> 2 times"):
        with_tables(page + page, tables)
    with pytest.raises(ValueError, match="no table 'measured'"):
        with_tables(page, tables[:-1])


def test_the_page_has_a_place_for_every_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(page.count(f"<!-- {mark}{name} -->") == 1 for name in SHOWN for mark in ("", "/"))
