"""The reference of circuits: its tables are the registries', and its examples run."""

import re
from pathlib import Path
from typing import Any

import pytest

from docs import tables
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.models.hand_built import TASK, hand_built_induction
from llc_lightning.runtime.seeding import generator

TEXT = (Path(__file__).parents[2] / "docs" / "circuits.md").read_text(encoding="utf-8")


def test_the_tables_are_the_registries() -> None:
    assert tables.written("circuits.md") == TEXT, "run make docs"


@pytest.mark.filterwarnings("ignore:the examples look padded")
def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"module": hand_built_induction(), "batch": TASK.sample(8, generator(0, "test"))}
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/circuits.md", "exec"), names)  # noqa: S102 - the page's own examples
    assert "net.hook_embed -> net.blocks.1.attn.hook_q[2]" in capsys.readouterr().out
    assert Circuit.load("circuit.json") == names["circuit"]
