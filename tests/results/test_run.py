"""A run folder tells everything that a run left, and what is wrong when it is none."""

from pathlib import Path

import pytest
import torch

from llc_lightning.results.provenance import provenance, write_provenance
from llc_lightning.results.run import Run, run_name
from llc_lightning.results.snapshots import save_snapshot
from llc_lightning.results.timings import write_timing
from llc_lightning.results.traces import Trace, write_trace
from llc_lightning.runtime.errors import StoreError
from tests.results.conftest import MakeRow


@pytest.fixture
def folder(tmp_path: Path, make_row: MakeRow) -> Path:
    folder = tmp_path / "checkpoints" / "cis" / "version_3"
    write_provenance(folder, provenance(seeds={"run": 7}, source=tmp_path))
    (folder / "config.yaml").write_text("seed_everything: 7\nllc:\n  n_beta: 100.0\n")
    run = Run.open(folder)
    run.store.write("step=00000500-llc", [make_row(run=run.name)])
    save_snapshot(folder, 500, {"w": torch.ones(2)})
    write_trace(
        folder, "step=00000500-llc", [Trace("", 1.0, 1.0, torch.ones(2, 4), torch.ones(2, 4))], run=run.name, step=500
    )
    write_timing(folder, "step=00000500-llc", seconds=1.0)
    return folder


def test_everything_is_found(folder: Path) -> None:
    run = Run.open(str(folder))
    assert run.name == "cis/version_3"
    assert run.config == {"seed_everything": 7, "llc": {"n_beta": 100.0}}
    assert run.provenance[0]["seeds"] == {"run": 7}
    assert run.measurements()["run"].tolist() == ["cis/version_3"]
    assert run.measurements(skip_corrupt=True)["value"].tolist() == [7.5]
    assert list(run.snapshots) == [500]
    assert list(run.traces) == ["step=00000500-llc"]
    assert run.timings()["seconds"].tolist() == [1.0]


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    write_provenance(tmp_path / "run", provenance(seeds={}, source=tmp_path))
    run = Run.open(tmp_path / "run")
    assert run.config == {}
    assert len(run.measurements()) == 0
    assert run.snapshots == {}
    assert run.traces == {}


def test_names(tmp_path: Path) -> None:
    assert run_name(tmp_path / "checkpoints" / "a b" / "version_0") == "a b/version_0"
    assert run_name(tmp_path / "checkpoints" / "old" / "checkpoints" / "x") == "x"
    assert run_name(Path("/data/logs/version_1")) == "logs/version_1"
    assert run_name(Path("/data/checkpoints")) == "data/checkpoints"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Run.open(tmp_path / "nowhere")
    assert str(caught.value) == (
        f"{tmp_path / 'nowhere'} does not exist; give the folder of a run, such as checkpoints/cis/version_0."
    )


def test_a_file(folder: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Run.open(folder / "config.yaml")
    assert str(caught.value) == (
        f"{folder / 'config.yaml'} is a file; give the folder of a run, such as checkpoints/cis/version_0."
    )


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Run.open(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not a run, since it holds no manifest.jsonl; give the folder of a run, such as "
        "checkpoints/cis/version_0."
    )


@pytest.mark.parametrize("above", [1, 2])
def test_a_folder_of_runs(folder: Path, above: int) -> None:
    given = folder.parents[above - 1]
    with pytest.raises(StoreError) as caught:
        Run.open(given)
    assert str(caught.value) == f"{given} is not a run, since it holds no manifest.jsonl; did you mean {folder}?"


@pytest.mark.parametrize("text", ["a: [", "- 1", "!!python/object:os.system {}"])
def test_a_bad_configuration(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_text(text)
    with pytest.raises(StoreError) as caught:
        _ = Run.open(folder).config
    assert str(caught.value).startswith(str(folder / "config.yaml"))
    assert str(caught.value).endswith("; restore it from a copy.")
    assert "\n" not in str(caught.value)
