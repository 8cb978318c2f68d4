"""Provenance tells versions, source and seeds, and remembers every change of them."""

import json
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import torch

from llc_lightning.results.provenance import provenance, read_provenance, write_provenance
from llc_lightning.runtime.errors import StoreError


def test_what_is_noted(tmp_path: Path) -> None:
    record = provenance(seeds={"run": 3, "data": 1}, device="cuda", source=tmp_path)
    assert record["packages"]["torch"] == torch.__version__
    assert record["packages"]["scipy"] == metadata.version("scipy")
    assert record["seeds"] == {"data": 1, "run": 3}
    assert record["device"] == "cuda"
    assert record["threads"] == torch.get_num_threads()
    assert record["git"] is None
    assert record["schema_version"] == 3
    assert json.loads(json.dumps(record)) == record


def test_the_build_of_torch_is_noted_where_its_metadata_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.14.1+cu130")
    assert provenance(seeds={})["packages"]["torch"] == "2.14.1+cu130"


def test_the_commit_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(
            ["git", *identity, "-C", str(tmp_path), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    (tmp_path / "untracked").write_text("1")
    assert provenance(seeds={}, source=tmp_path)["git"] == {"commit": git("rev-parse", "HEAD"), "changed": False}
    (tmp_path / "a").write_text("2")
    assert provenance(seeds={}, source=tmp_path)["git"] == {"commit": git("rev-parse", "HEAD"), "changed": True}


def test_a_resumed_run_keeps_the_earlier_record(tmp_path: Path) -> None:
    assert read_provenance(tmp_path) == []
    first = provenance(seeds={"run": 0}, source=tmp_path)
    second = {**first, "python": "3.99"}
    write_provenance(tmp_path, first)
    path = write_provenance(tmp_path, first)
    assert read_provenance(tmp_path) == [first]
    assert path == tmp_path / "provenance.json"
    write_provenance(tmp_path, second)
    assert read_provenance(tmp_path) == [first, second]


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(StoreError) as caught:
        read_provenance(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'provenance.json'} is damaged: ")
    assert str(caught.value).endswith("; restore it from a copy, or delete it.")
