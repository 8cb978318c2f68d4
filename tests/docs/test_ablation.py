"""The reference of ablation: its tables are the registries', and its examples run."""

import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from llc_lightning.ablation import METHODS, METRICS, WeightMethod
from llc_lightning.ablation.effects import COLUMNS
from llc_lightning.models.hand_built import TASK, hand_built_induction
from llc_lightning.runtime.registry import Registry
from llc_lightning.runtime.seeding import generator

PAGE = Path(__file__).parents[2] / "docs" / "ablation.md"


def side(method: type[object]) -> str:
    """What a method ablates."""
    return "weights" if issubclass(method, WeightMethod) else "activations"


def rows(registry: Registry[Any, Any], *, methods: bool) -> list[str]:
    """What a table of a registry must hold, a row for each entry."""
    told: list[str] = []
    for name, entry in sorted(registry.items()):
        options = [f"{one.name}={str(one.default) or '...'}" for one in fields(entry.item) if one.init]
        cells = [entry.summary, ", ".join(f"`{one}`" for one in options if "function" not in one)]
        cells = [side(entry.item), *cells, entry.source] if methods else cells
        told.append(f"| {' | '.join([f'`{name}`', *cells])} |")
    return told


def table(name: str) -> list[str]:
    """The rows of a table of the page, without its head."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1].splitlines()[2:]


def test_the_table_of_methods_is_the_registry() -> None:
    assert table("methods") == rows(METHODS, methods=True)


def test_the_table_of_metrics_is_the_registry() -> None:
    assert table("metrics") == rows(METRICS, methods=False)


def test_the_examples_run() -> None:
    tokens, targets = TASK.sample(8, generator(0, "test"))
    donors, others = TASK.sample(8, generator(1, "test"))
    names: dict[str, Any] = {"module": hand_built_induction(), "batch": (tokens, targets), "donors": (donors, others)}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 - the page's own examples
    columns = (*COLUMNS, "normalised", "normalised_stderr")
    assert tuple(names["change"].columns) == tuple(names["restored"].columns) == columns
    assert len(names["change"]) == 16  # eight heads, on the loss and on a metric
    assert len(names["restored"]) == 2
    assert names["edge"]["value"].abs().max() > 0
    assert math.isfinite(names["found"].recovered)
