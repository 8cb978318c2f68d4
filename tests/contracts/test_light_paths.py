"""What only checks a name, a key or a file answers at once, and what only reads a run needs no torch."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.synthetic import SyntheticRun

ROOT = Path(__file__).parents[2]
HEAVY = ("lightning", "plotly", "transformer_lens", "torch", "pandas", "scipy", "matplotlib", "numpy")
PATHS = {
    "help": ["--help"],
    "help of train": ["train", "--help"],
    "help of analyze": ["analyze", "--help"],
    "help of a command": ["analyze", "report", "--help"],
    "no file": ["train", "fit", "-c", "none.yaml"],
    "a wrong file": ["train", "fit", "-c", "pyproject.toml"],
    "a wrong key": ["train", "fit", "-c", "smoke/cis", "--llc.gama", "3"],
    "a wrong command": ["analyze", "summaries", "x"],
    "no run": ["analyze", "summary", "none"],
    "no run to measure": ["analyze", "measure", "none"],
    "no run to report": ["analyze", "report", "none"],
}


@functools.cache
def loaded() -> dict[str, list[str]]:
    """Names the heavy libraries that each path loads in a process of its own, forked where nothing is loaded yet."""
    show = f"""
import io, os, sys
from contextlib import redirect_stderr, redirect_stdout
from llc_lightning.cli.main import main
for name, words in {PATHS!r}.items():
    if os.fork():
        os.wait()
        continue
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            code = main(words)
    except SystemExit as stop:
        code = stop.code
    print(name, code, *(heavy for heavy in {HEAVY!r} if heavy in sys.modules), sep="|", flush=True)
    os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name: rest for name, *rest in (line.split("|") for line in done.stdout.splitlines())}


@pytest.mark.parametrize("name", PATHS)
def test_it_imports_nothing_heavy(name: str) -> None:
    code, *heavy = loaded()[name]
    assert code == ("0" if name.startswith("help") else "1" if name.startswith("no run") else "2")
    assert heavy == []


def test_what_reads_a_run_loads_neither_torch_nor_what_trains(tmp_path: Path) -> None:
    runs = [tmp_path / "checkpoints" / "cis" / f"version_{i}" for i in range(2)]
    for run in runs:
        SyntheticRun(units=4, circuits=4).write(run)
    heavy = ("torch", "lightning", "transformer_lens", "transformers", "zarr")
    show = f"""
import sys
from llc_lightning.cli.main import main
for words in (["summary"], ["summary", "--json"], ["trajectories"], ["compare", {str(runs[1])!r}]):
    assert main(["analyze", words[0], {str(runs[0])!r}, *words[1:]]) == 0
print(*(name for name in {heavy!r} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == ""
