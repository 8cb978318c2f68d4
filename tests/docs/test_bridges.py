"""The recipes of docs/bridges.md, run as typed: what they make is measured, and comes back as it was."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from docs import tables
from llc_lightning import ablation_effects, find_components
from llc_lightning.components.loss import snapshot_params
from llc_lightning.runtime.status import is_failed

TEXT = (Path(__file__).parents[2] / "docs" / "bridges.md").read_text(encoding="utf-8")
FIRST, *SECTIONS = TEXT.split("\n## ")
*RECIPE, TABLE = SECTIONS
RECIPES = {section.split("\n")[0]: section for section in RECIPE}


def run(text: str) -> dict[str, Any]:
    """Returns the names that the Python of a section makes."""
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/bridges.md", "exec"), names)  # noqa: S102
    return names


def test_there_is_a_recipe_for_each() -> None:
    assert list(RECIPES) == [
        *("A LightningModule", "A plain module", "A model of transformers", "A plain CNN that was saved"),
        *("A folder of transformers", "A HookedTransformer of TransformerLens 1 to 3", "TransformerLens"),
    ]
    assert TABLE.startswith("What is measured of which module")


def test_the_table_of_modules_is_of_their_settings() -> None:
    assert tables.written("bridges.md") == TEXT, "run make docs"


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_makes_what_can_be_measured(title: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(RECIPES[title])
    module, batch, components = made["module"], made["batch"], made["components"]
    before = snapshot_params(module)
    run(FIRST)["look_at"](module, batch, components)
    value, stderr, _ = capsys.readouterr().out.split()[:3]
    assert torch.isfinite(torch.tensor([float(value), float(stderr)])).all()
    table = ablation_effects(module, batch, components, ["zero", "mean"])
    assert len(table) == 2 * len(find_components(module, components))
    assert not any(map(is_failed, table["status"]))
    assert bool((table["value"].abs() > 0).any())
    after = snapshot_params(module)
    assert all(torch.equal(after[name], value) for name, value in before.items())
