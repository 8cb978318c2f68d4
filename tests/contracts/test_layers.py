"""Imports point down: each room of the package uses the rooms below it, and heavy libraries wait until used."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llc_lightning"

# What each room may import, besides itself. Sampling and ablation meet in measure alone.
BELOW: dict[str, set[str]] = {
    "runtime": set(),
    "components": {"runtime"},
    "results": {"runtime"},
    "data": {"runtime"},
    "models": {"data", "components", "runtime"},
    "sampling": {"components", "runtime"},
    "exact": {"runtime"},
    "llc": {"exact", "sampling", "components", "runtime"},
    "ablation": {"components", "runtime"},
    "circuits": {"ablation", "components", "runtime"},
    "measure": {"llc", "sampling", "circuits", "ablation", "components", "results", "runtime"},
    "analysis": {"results", "runtime"},
    "report": {"analysis", "llc", "results", "runtime"},
    "callbacks": {"report", "measure", "llc", "results", "components", "runtime"},
}
BELOW["cli"] = set(BELOW)

HEAVY = [
    *("arviz_stats", "datasets", "lightning", "matplotlib", "networkx", "pandas", "plotly", "pyarrow", "scipy"),
    *("tensorboard", "torchmetrics", "transformer_lens", "transformers", "wandb", "xarray", "zarr"),
]
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yields line and full name of everything that a file imports, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def breaches(path: Path, room: str) -> list[str]:
    """Lists the imports of a file that its room may not make."""
    allowed = {room} | BELOW[room]
    found: list[str] = []
    for line, name in imports(path):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if top == "tests" or (top == PACKAGE.name and target not in allowed):
            found.append(f"{path.relative_to(ROOT)}:{line} imports {name}; {room} may use {sorted(allowed)}")
    return found


def test_every_room_has_a_place_among_the_layers() -> None:
    assert set(ROOMS) <= set(BELOW), f"add to BELOW: {set(ROOMS) - set(BELOW)}"


def test_layers_have_an_order() -> None:
    for room, below in BELOW.items():
        assert all(room not in BELOW[other] for other in below - {room}), room


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room: str) -> None:
    assert not [breach for path in sorted((PACKAGE / room).rglob("*.py")) for breach in breaches(path, room)]


def test_an_import_that_points_up_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "llc_lightning" / "ablation" / "zero.py"
    path.parent.mkdir(parents=True)
    lines = (
        "def f():",
        " from llc_lightning.llc import estimator",
        " from ..sampling import sgld",
        " from . import base",
    )
    path.write_text("\n".join(lines))
    assert [breach.split(";")[0] for breach in breaches(path, "ablation")] == [
        "llc_lightning/ablation/zero.py:2 imports llc_lightning.llc.estimator",
        "llc_lightning/ablation/zero.py:3 imports llc_lightning.sampling.sgld",
    ]


def loaded_by(statement: str) -> set[str]:
    """Names the heavy libraries that a statement loads in a fresh interpreter."""
    show = f"import sys\n{statement}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_heavy_library() -> None:
    assert loaded_by("import llc_lightning") == set()


ENGINES = ("estimate_llc", "find_components", "loss_fn", "Every")


@functools.cache
def loaded_by_engines() -> dict[str, list[str]]:
    """Names the heavy libraries that each engine loads in a process of its own, forked where torch is there."""
    show = f"""
import os, sys, torch
for name in {ENGINES!r}:
    if os.fork():
        os.wait()
    else:
        exec(f"from llc_lightning import {{name}}")
        print(name, *(heavy for heavy in {HEAVY!r} if heavy in sys.modules), flush=True)
        os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name: heavy for name, *heavy in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("name", ENGINES)
def test_engines_need_torch_alone(name: str) -> None:
    assert loaded_by_engines()[name] == []
