"""What is registered is asked by what it says of itself: nothing outside its own file asks for its name or class."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

from llc_lightning.ablation.engine.base import METHODS
from llc_lightning.measure.measurements import MEASUREMENTS
from llc_lightning.runtime.kinds import KINDS
from llc_lightning.runtime.registry import register_all
from llc_lightning.sampling.base import SAMPLERS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llc_lightning"

register_all("llc_lightning.callbacks")  # and with them the kinds of measurement
NAMES = {name: "sampler" for name in SAMPLERS} | {name: "kind" for name in (*MEASUREMENTS, *KINDS)}
NAMES |= {name: "method" for name in METHODS}
ITEMS = [entry.item for table in (SAMPLERS, METHODS) for _, entry in table.items()]
ITEMS += [entry.facts.plan for _, entry in MEASUREMENTS.items()]
ITEMS += [type(entry.item) for _, entry in MEASUREMENTS.items()]
CLASSES = {item.__name__: item.__module__ for item in ITEMS}
"""Every registered class, and where it is at home."""


@functools.cache
def files() -> dict[Path, ast.Module]:
    """Returns the syntax trees of the package."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def home(name: str) -> Path:
    """Returns the folder that a class may be asked for in: its file's for plans, whose rows and callback know them."""
    return PACKAGE / "/".join(CLASSES[name].split(".")[1:-1])


def last_name(node: ast.expr) -> str:
    """Returns the word that a value goes by: ``kind`` for ``component.kind`` and for ``kind``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def texts(node: ast.expr) -> set[str]:
    """Returns the texts that stand in a constant, or in a collection of some."""
    nodes = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {one.value for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def asked_by_name(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields comparisons of something called kind, sampler or method with a registered name of that sort."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            words = {last_name(side) for side in sides}
            for name in sorted(set().union(*map(texts, sides)) & NAMES.keys()):
                if NAMES[name] in words:
                    yield node.lineno, name


def asked_by_class(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields ``isinstance`` and ``issubclass`` of a registered class, and comparisons with it."""
    for node in ast.walk(tree):
        asks = isinstance(node, ast.Compare) or (
            isinstance(node, ast.Call) and last_name(node.func) in ("isinstance", "issubclass")
        )
        for part in ast.walk(node) if asks else ():
            if isinstance(part, ast.Name | ast.Attribute) and last_name(part) in CLASSES:
                yield part.lineno, last_name(part)


def test_nothing_asks_for_a_registered_name() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path, tree in files().items()
        for line, name in asked_by_name(tree)
    ]


def test_nothing_asks_for_a_registered_class() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path, tree in files().items()
        for line, name in asked_by_class(tree)
        if path.parent != home(name)
    ]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ('if settings.sampler == "mala": pass', ["mala"]),
        ('plan.kind in ("llc", "other")', ["llc"]),
        ('kind != "layer"', ["layer"]),
        ('other == "mala"', []),
        ('settings.sampler == "other"', []),
    ],
)
def test_a_name_that_is_asked_for_is_found(code: str, names: list[str]) -> None:
    assert [name for _, name in asked_by_name(ast.parse(code))] == names


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("isinstance(plan, LLCPlan | str)", ["LLCPlan"]),
        ("issubclass(kind, sampling.SGLD)", ["SGLD"]),
        ("type(method) is Zero", ["Zero"]),
        ("LLCPlan(components=())", []),
    ],
)
def test_a_class_that_is_asked_for_is_found(code: str, names: list[str]) -> None:
    assert [name for _, name in asked_by_class(ast.parse(code))] == names


def circles(files: dict[str, ast.AST]) -> list[list[str]]:
    """Returns the modules that import each other in circles, in functions and for type checkers too."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module, tree in files.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph.add_edges_from((module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    graph.add_edge(module, full if full in files else node.module)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    return [sorted(found) for found in nx.strongly_connected_components(graph) if len(found) > 1]


def test_imports_make_no_circle() -> None:
    assert circles({module_name(path): tree for path, tree in files().items()}) == []


def test_a_circle_is_found_behind_type_checking() -> None:
    files = {
        "a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from b import x",
        "b": "def f():\n    import c",
        "c": "import a",
        "d": "import a",
    }
    assert circles({name: ast.parse(text) for name, text in files.items()}) == [["a", "b", "c"]]


def module_name(path: Path) -> str:
    """Returns the name that a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
