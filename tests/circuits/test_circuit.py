"""A circuit is a value that one file holds."""

import json
from pathlib import Path

import pytest

from llc_lightning.circuits.base import edge_scores
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.runtime.errors import SettingError, StoreError
from tests.circuits.nets import question


def test_a_circuit_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    scores = edge_scores(question("layer"), "eap")
    circuit = Circuit.top(scores, 7, method="eap", donor="resample", loss="train", seed=0, source="checkpoints/x")
    assert [abs(one.score) for one in circuit.scored] == sorted((abs(one.value) for one in scores), reverse=True)[:7]
    circuit.save(tmp_path / "circuit.json")
    assert Circuit.load(tmp_path / "circuit.json") == circuit
    assert json.loads((tmp_path / "circuit.json").read_text())["version"] == 3


def test_a_circuit_of_an_older_version_is_loaded_without_what_it_lacks(tmp_path: Path) -> None:
    circuit = Circuit((), "exact", "zero", "train", 16, 0)
    for version, lacks in ((2, ["constants"]), (1, ["constants", "search"])):
        told = json.loads(circuit.to_json()) | {"version": version}
        for name in lacks:
            told.pop(name)
        (tmp_path / "old.json").write_text(json.dumps(told))
        assert Circuit.load(tmp_path / "old.json") == circuit


def test_what_is_no_circuit_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no file .*none\.json; give one"):
        Circuit.load(tmp_path / "none.json")
    (tmp_path / "old.json").write_text('{"version": 0}')
    with pytest.raises(StoreError, match="holds a circuit of version 0, and these are read here: 1, 2, 3"):
        Circuit.load(tmp_path / "old.json")
    for text in ("", "[]", '{"version": 1}', '{"version": 1, "scored": [{"edge": "a"}]}'):
        with pytest.raises(StoreError, match="the text holds no circuit"):
            Circuit.from_json(text)
    with pytest.raises(SettingError, match="edges is 0"):
        Circuit.top([], 0)
    with pytest.raises(SettingError, match="no edge with a score"):
        Circuit.top([], 1)
