"""The command analyze.py edges."""

import json
from pathlib import Path

import pandas as pd
import pytest

from llc_lightning.cli.analyze import main
from llc_lightning.results.schema import Row
from llc_lightning.results.store import Store, part_name
from tests.report.test_edges import COUNTS, EDGES, LLC, SHARES


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints" / "net" / "version_0"
    for step, some in pd.concat([EDGES, SHARES, COUNTS, LLC]).groupby("step"):
        rows = [Row(**{str(name): value for name, value in row.items()}) for row in some.to_dict("records")]
        Store(folder).write(part_name(int(str(step)), "circuit"), rows)
    return folder


def test_edges_are_told_and_drawn(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edges", str(run)]) == 0
    assert "When 2 edges enter and leave" in capsys.readouterr().out
    assert main(["edges", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["leaves"] is None for one in told["edges"]] == [True, False]
    assert told["llc"][0]["transition"]["until"] == 20
    for name, holds in (("drawn.svg", "<svg"), ("page.html", "in 25% of circuits")):
        assert main(["edges", str(run), "--out", str(tmp_path / name)]) == 0
        assert holds in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "page.pdf"], "ends in .svg or .html"),
        (["--quantity", "edge_score"], "holds no edge_score; train with a CircuitCallback"),
        (["--quantity", "loss"], "says nothing of edges"),
    ],
)
def test_what_cannot_be_told_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["edges", str(run), *options]) == 1
    assert said in capsys.readouterr().err
